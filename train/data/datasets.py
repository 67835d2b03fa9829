"""DATASETS: every data set by name. Nothing here imports jax or tensorflow-datasets.

Embedded sets are TFDS builders of ours over data that comes with scikit-learn; they need no
network. The others are the upstream sets of tensorflow-datasets.
"""

from dataclasses import dataclass

from train.lookup import look_up


@dataclass(frozen=True)
class Dataset:
    """One labelled image set.

    builder: the import path of an embedded builder, or the name of an upstream TFDS one.
    shape: (height, width, channels) of an image, uint8. embedded: the set to use without network.
    """

    about: str
    builder: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    embedded: str | None = None

    @property
    def is_embedded(self) -> bool:
        return ":" in self.builder


DIGITS = tuple("0123456789")

DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        "1,797 real handwritten digits of scikit-learn, 8x8 brought to 28x28; 1,500 train, 297 test",
        "train.data.digits:Digits", (28, 28, 1), DIGITS,
    ),
    "mnist": Dataset(
        "the MNIST digits; 60,000 train, 10,000 test", "mnist", (28, 28, 1), DIGITS, embedded="digits",
    ),
}  # fmt: skip


def find_dataset(name: str) -> Dataset:
    """DATASETS[name]; ValueError with near matches where there is none."""
    return look_up(DATASETS, name, "dataset")
