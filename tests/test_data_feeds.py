"""Feeds: batches as a pure function of (seed, step), whichever way the data comes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from train.data.feeds import GeneratedFeed, InMemory, Streaming, make_feed
from train.data.sources import Data, Generated, Source


class Numbers(Source):
    """0 to size - 1, as examples."""

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


OPTIONS = {"batch_size": 3, "shuffle": True, "seed": 0, "take": None}
KINDS = {
    "resident": lambda **options: make_feed(arrays(), **{**OPTIONS, **options}),
    "streamed": lambda **options: make_feed(Numbers(10), **{**OPTIONS, "stream": True, **options}),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def joined(rows):
    return [value for row in rows for value in row]


def batches(feed, steps=range(9)):
    """y of the batches at these steps, each checked against x."""
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
def test_an_epoch_sees_every_example_at_most_once_and_each_in_its_own_order(kind):
    feed = KINDS[kind]()
    assert (feed.size, feed.batch_size, feed.steps_per_epoch) == (10, 3, 3)
    rows = batches(feed)
    epochs = [joined(rows[first : first + 3]) for first in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert set().union(*epochs) == set(range(10))  # what one epoch leaves over another takes


@each_kind
def test_without_shuffling_examples_come_in_order(kind):
    assert batches(KINDS[kind](shuffle=False), range(4)) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 2]]


@each_kind
def test_the_first_examples_alone(kind):
    feed = KINDS[kind](take=7)
    assert (feed.size, feed.steps_per_epoch) == (7, 2)
    assert set(joined(batches(feed, range(12)))) == set(range(7))


@each_kind
@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_must_fit(kind, batch_size):
    with pytest.raises(ValueError, match=f"from 1 to the data set's 10 examples, got {batch_size}"):
        KINDS[kind](batch_size=batch_size)


def test_seeds_that_follow_one_another_share_no_epoch():
    """Grain adds the epoch to its seed: were ours not mixed first, seed 1 would begin in seed 0's epoch 1."""
    first, second = (batches(KINDS["streamed"](seed=seed, batch_size=10), range(3)) for seed in (0, 1))
    assert not any(order in second for order in first)


def test_a_resident_order_is_the_seeds_own_permutation():
    """The formula, so that a run of an earlier version goes on with the same batches."""
    order = jax.random.fold_in(jax.random.key(5), 0)
    expected = [jax.random.permutation(jax.random.fold_in(order, epoch), 10)[:9].tolist() for epoch in (0, 1)]
    rows = batches(KINDS["resident"](seed=5), range(6))
    assert [joined(rows[:3]), joined(rows[3:])] == expected


def test_when_inputs_must_be_asked_for_again():
    assert KINDS["resident"]().refresh_every == 3
    assert KINDS["resident"](shuffle=False).refresh_every is None
    assert KINDS["resident"](batch_size=None).refresh_every is None
    assert KINDS["streamed"]().refresh_every == 1


@pytest.mark.parametrize("shuffle", [True, False])
def test_one_call_of_many_steps_takes_the_same_batches(shuffle):
    feed = KINDS["resident"](shuffle=shuffle)
    steps = feed.refresh_every or 7  # in order there is no end of an epoch to stop at

    @jax.jit
    def many(inputs):
        return jax.lax.scan(lambda step, _: (step + 1, feed.batch(inputs, step)["y"]), 0, length=steps)[1]

    assert many(feed.inputs(0, steps)).tolist() == batches(feed, range(steps))


def test_all_of_the_data_in_every_step():
    feed = make_feed(arrays(4), batch_size=None, shuffle=True, seed=0, take=None)
    assert (feed.batch_size, feed.size, feed.steps_per_epoch) == (4, 4, 1)
    assert batches(feed, range(3)) == [[0, 1, 2, 3]] * 3
    with pytest.raises(ValueError, match="all of the data in every step needs it in memory"):
        make_feed(Numbers(4), batch_size=None, shuffle=True, seed=0, stream=True)


def test_a_source_that_fits_is_read_into_memory():
    resident, streamed = (make_feed(Numbers(10), **OPTIONS, limit=limit) for limit in (80, 79))
    assert isinstance(resident, InMemory) and isinstance(streamed, Streaming)
    assert batches(resident) == batches(KINDS["resident"]())
    assert isinstance(make_feed(Numbers(10), **{**OPTIONS, "take": 9}, limit=79), InMemory)
    assert isinstance(make_feed(arrays(), **OPTIONS, stream=True), Streaming)


def test_arrays_can_be_streamed():
    assert batches(make_feed(arrays(), **OPTIONS, stream=True)) == batches(KINDS["streamed"]())


def test_a_feed_goes_on_after_it_was_closed():
    feed = KINDS["streamed"]()
    assert batches(feed, range(3)) + batches(feed, range(3, 6)) == batches(KINDS["streamed"](), range(6))


def test_fresh_batches_follow_from_seed_and_step():
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
        ({"take": 5}, "no first examples to take"),
        ({"stream": True}, "nothing to stream"),
    ],
)
def test_what_fresh_batches_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        make_feed(Generated(lambda key, size: {}), **{**OPTIONS, **options})
