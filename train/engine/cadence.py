"""The intervals at which a run logs, saves checkpoints, saves images and evaluates."""

import math
from dataclasses import dataclass

from train.data.feeds import Feed
from train.recipes import Recipe


@dataclass(frozen=True)
class Cadence:
    """The intervals of a run in steps.

    A compiled call of several steps ends at the next multiple of each interval at the latest. total: the
    steps of the run. epoch: the steps of an epoch. refresh: the number of steps after which the feed must be
    asked for new inputs.
    """

    total: int
    log: int
    checkpoint: int
    images: int
    evaluate: int
    refresh: int
    epoch: int

    @classmethod
    def of(cls, recipe: Recipe, feed: Feed) -> "Cadence":
        """The intervals that a recipe sets, and the defaults for those that it does not set.

        Errors: ValueError for a run without steps.
        """
        epoch = feed.steps_per_epoch
        total = recipe.steps if recipe.steps is not None else (recipe.epochs or 0) * epoch
        if total < 1:
            raise ValueError(f"a run needs at least one step, got {total}: give epochs or steps")
        twentieth = max(1, total // 20)
        return cls(
            total=total,
            log=min(recipe.log_every, total),
            checkpoint=recipe.checkpoint_every or max(epoch, twentieth),
            images=recipe.sample_every or max(1, math.ceil(total / 10)),
            evaluate=recipe.evaluate_every or (epoch if epoch > 1 else twentieth),
            refresh=feed.refresh_every or total,
            epoch=epoch,
        )

    def until_next(self, step: int) -> int:
        """The number of steps from `step` to the next multiple of an interval, or to the end of the run."""
        every = (self.log, self.checkpoint, self.images, self.evaluate, self.refresh)
        return min(self.total - step, *(n - step % n for n in every))
