"""Training in JAX: recipes, data, tasks, optimizers and the loop.

    import train

    run = train.fit("lenet5", epochs=2)
    run.evaluate().metrics
    run = train.load_run("runs/dcgan")
    run.sample(count=16).examples

`python -m train.run --list` names the models, tasks and data sets. Importing this package is
fast: the modules that need jax are imported when they are first used.
"""

from typing import TYPE_CHECKING

from train.lazy import lazy_attributes

if TYPE_CHECKING:
    from train.data.datasets import DATASETS
    from train.engine.runs import Run, fit, load_run
    from train.recipes import RECIPES, Recipe

__all__ = ["DATASETS", "RECIPES", "Recipe", "Run", "fit", "load_run"]

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "train.data.datasets": ("DATASETS",),
        "train.engine.runs": ("Run", "fit", "load_run"),
        "train.recipes": ("RECIPES", "Recipe"),
    },
)
