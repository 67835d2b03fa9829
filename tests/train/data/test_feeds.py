"""Feeds: batches are a pure function of (seed, step), for every kind of feed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.data.feeds import GeneratedFeed, InMemory, Streaming, make_feed
from train.data.sources import Data, Generated, Source

pytestmark = pytest.mark.jax_only


class Numbers(Source):
    """The numbers 0 to size - 1 as examples."""

    def __init__(self, size: int):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"x": np.full((2, 2), index, np.uint8), "y": np.int32(index)}

    @property
    def nbytes(self):
        return 8 * self.size


def arrays(size=10):
    return {"x": np.repeat(np.arange(size, dtype=np.uint8), 4).reshape(size, 2, 2), "y": np.arange(size)}


OPTIONS: Any = {"batch_size": 3, "shuffle": True, "seed": 0, "take": None}
KINDS: Any = {
    "in memory": lambda **options: make_feed(arrays(), **{**OPTIONS, **options}),
    "streaming": lambda **options: make_feed(Numbers(10), **{**OPTIONS, "streaming": True, **options}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def joined(rows):
    return [value for row in rows for value in row]


def batches(feed: Any, steps: Any = range(9)) -> list[list[int]]:
    """The y of the batches at these steps; the x of each batch must have the same rows."""
    rows = []
    batch = jax.jit(feed.batch)
    for step in steps:
        values = batch(feed.inputs(step, 1), step)
        assert values["x"].dtype == jnp.uint8
        assert (np.asarray(values["x"]) == np.asarray(values["y"])[:, None, None]).all()
        rows.append(np.asarray(values["y"]).tolist())
    feed.close()
    return rows


@each_kind
def test_batches_follow_from_seed_and_step_alone(kind):
    whole = batches(KINDS[kind]())
    assert whole == batches(KINDS[kind]())
    assert whole != batches(KINDS[kind](seed=1))
    assert batches(KINDS[kind](), [7, 8, 4]) == [whole[7], whole[8], whole[4]]


@each_kind
def test_an_epoch_has_every_example_at_most_once_in_an_order_of_its_own(kind):
    feed = KINDS[kind]()
    assert (feed.size, feed.batch_size, feed.steps_per_epoch) == (10, 3, 3)
    rows = batches(feed)
    epochs = [joined(rows[first : first + 3]) for first in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert set().union(*epochs) == set(range(10))  # an example that one epoch leaves out is in another


@each_kind
def test_without_shuffling_examples_come_in_order(kind):
    assert batches(KINDS[kind](shuffle=False), range(4)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 2]]


@each_kind
def test_take_keeps_the_first_examples(kind):
    feed = KINDS[kind](take=7)
    assert (feed.size, feed.steps_per_epoch) == (7, 2)
    assert set(joined(batches(feed, range(12)))) == set(range(7))


@each_kind
@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_must_fit(kind, batch_size):
    with pytest.raises(ValueError, match=f"from 1 to the data set's 10 examples, got {batch_size}"):
        KINDS[kind](batch_size=batch_size)


def test_consecutive_seeds_share_no_epoch():
    """Grain adds the epoch to its seed. Unmixed, seed 1 would start with epoch 1 of seed 0."""
    first, second = (batches(KINDS["streaming"](seed=seed, batch_size=10), range(3)) for seed in (0, 1))
    assert not any(order in second for order in first)


def test_the_order_in_memory_is_the_permutation_of_seed_and_epoch():
    """The formula is fixed, so that a run of an earlier version continues with the same batches."""
    order = jax.random.fold_in(jax.random.key(5), 0)
    expected = [jax.random.permutation(jax.random.fold_in(order, epoch), 10)[:9].tolist() for epoch in (0, 1)]
    rows = batches(KINDS["in memory"](seed=5), range(6))
    assert [joined(rows[:3]), joined(rows[3:])] == expected


def test_after_how_many_steps_the_inputs_must_be_refreshed():
    assert KINDS["in memory"]().refresh_every == 3
    assert KINDS["in memory"](shuffle=False).refresh_every is None
    assert KINDS["in memory"](batch_size=None).refresh_every is None
    assert KINDS["streaming"]().refresh_every == 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_one_call_of_many_steps_takes_the_same_batches(shuffle):
    feed = KINDS["in memory"](shuffle=shuffle)
    steps = feed.refresh_every or 7  # without shuffling a call may cross the end of an epoch

    @jax.jit
    def many(inputs):
        return jax.lax.scan(lambda step, _: (step + 1, feed.batch(inputs, step)["y"]), 0, length=steps)[1]

    assert many(feed.inputs(0, steps)).tolist() == batches(feed, range(steps))


def test_all_of_the_data_in_every_step():
    feed = make_feed(arrays(4), batch_size=None, shuffle=True, seed=0, take=None)
    assert (feed.batch_size, feed.size, feed.steps_per_epoch) == (4, 4, 1)
    assert batches(feed, range(3)) == [[0, 1, 2, 3]] * 3
    with pytest.raises(ValueError, match="batch_size None needs all of the data in memory"):
        make_feed(Numbers(4), batch_size=None, shuffle=True, seed=0, streaming=True)


def test_a_source_that_fits_is_read_into_memory():
    in_memory, streaming = (make_feed(Numbers(10), **OPTIONS, limit=limit) for limit in (80, 79))
    assert isinstance(in_memory, InMemory) and isinstance(streaming, Streaming)
    assert batches(in_memory) == batches(KINDS["in memory"]())
    assert isinstance(make_feed(Numbers(10), **{**OPTIONS, "take": 9}, limit=79), InMemory)
    assert isinstance(make_feed(arrays(), **OPTIONS, streaming=True), Streaming)


def test_arrays_can_be_streamed():
    assert batches(make_feed(arrays(), **OPTIONS, streaming=True)) == batches(KINDS["streaming"]())


def test_a_feed_continues_after_it_was_closed():
    feed = KINDS["streaming"]()
    assert batches(feed, range(3)) + batches(feed, range(3, 6)) == batches(KINDS["streaming"](), range(6))


def test_generated_batches_follow_from_seed_and_step():
    data = Data(Generated(lambda key, size: {"x": jax.random.normal(key, (size, 2))}), None, {})
    feed, other = (make_feed(data, batch_size=5, shuffle=True, seed=seed, take=None) for seed in (0, 1))
    assert isinstance(feed, GeneratedFeed)
    assert (feed.batch_size, feed.size, feed.steps_per_epoch, feed.refresh_every) == (5, None, 100, None)

    def draw(feed, step):
        return np.asarray(jax.jit(feed.batch)(feed.inputs(step, 1), step)["x"])

    assert draw(feed, 0).shape == (5, 2)
    assert np.array_equal(draw(feed, 3), draw(feed, 3))
    assert not np.array_equal(draw(feed, 3), draw(feed, 4))
    assert not np.array_equal(draw(feed, 3), draw(other, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": None}, "needs a batch_size of at least 1, got None"),
        ({"batch_size": 0}, "needs a batch_size of at least 1, got 0"),
        ({"take": 5}, "generated data .*`take`"),
        ({"streaming": True}, "generated data .*`streaming`"),
    ],
)
def test_options_that_generated_data_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        make_feed(Generated(lambda key, size: {}), **{**OPTIONS, **options})
