"""Preprocessing of tabular data, fitted on the training split alone: scikit-learn's, by name.

    train, test, fitted = preprocess(["standardize", "pca:10"], train, test)

Source: sklearn.preprocessing and sklearn.decomposition. Nothing here imports them before it fits.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from train.data.transforms.syntax import ParsedTransform, TransformKind, parse_step, side

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def _read_components(count: str | None = None) -> tuple:
    return (None if count is None else side(count),)


PREPROCESSING: dict[str, TransformKind] = {
    "center": TransformKind("center", "less the mean of each column", lambda: ()),
    "scale": TransformKind("scale",
        "each column to [-1, 1] by its minimum and maximum; a constant one to -1", lambda: ()),
    "standardize": TransformKind("standardize",
        "each column to mean 0 and deviation 1; a constant one to 0", lambda: ()),
    "pca": TransformKind("pca[:K]", "the K directions of most variance; all where not given", _read_components),
    "whiten": TransformKind("whiten[:K]",
        "the same, each to variance 1: covariance is the identity", _read_components),
}  # fmt: skip


def parse_preprocessing(names: Sequence[str]) -> tuple[ParsedTransform, ...]:
    """("center", "pca:10") -> steps. ValueError for what PREPROCESSING does not have."""
    return tuple(parse_step(PREPROCESSING, name, "preprocessing") for name in names)


def preprocess(
    names: Sequence[str], train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, "Pipeline"]:
    """Both splits, (N, D) or (N, H, W, C), preprocessed in the order of the names, and the fitted pipeline.

    Images are flattened to (N, H·W·C) for it, and come back in their shape unless the number of columns
    changed: then as (N, K). float64 stays, smaller numbers become float32, larger integers float64.
    ValueError where scikit-learn refuses the data, or where whitening would divide by rounding noise.
    """
    from sklearn.pipeline import make_pipeline

    train, test = np.asarray(train), np.asarray(test)
    if train.ndim < 2 or train.shape[1:] != test.shape[1:]:
        raise ValueError(f"preprocessing takes two arrays (N, ...) alike, got {train.shape} and {test.shape}")
    steps = [_estimator(step) for step in parse_preprocessing(names)]
    fitted = make_pipeline(*steps or ["passthrough"])
    try:
        rows, test_rows = _rows(train, least=2), _rows(test, least=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # shares of no variance at all
            new_train = fitted.fit_transform(rows)
        new_test = fitted.transform(test_rows)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot preprocess by {', '.join(names)}: {reason}") from None
    for step in steps:
        _check_whitening(step)
    if new_train.shape[1] == math.prod(train.shape[1:]):
        new_train, new_test = new_train.reshape(train.shape), new_test.reshape(test.shape)
    return new_train, new_test, fitted


def _rows(array: np.ndarray, least: int) -> np.ndarray:
    """(N, ...) of any finite numbers, N at least so many -> (N, D) floats that hold them."""
    from sklearn.utils import check_array

    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    dtype = np.promote_types(array.dtype, np.float32)
    return check_array(rows, dtype=dtype, ensure_min_samples=least)


def _estimator(step: ParsedTransform) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    make = {
        "center": lambda: StandardScaler(with_std=False),
        "scale": lambda: MinMaxScaler((-1, 1)),
        "standardize": StandardScaler,
        "pca": lambda components: PCA(components, random_state=0),
        "whiten": lambda components: PCA(components, whiten=True, random_state=0),
    }
    return make[step.name](*step.arguments)


def _check_whitening(step: Any) -> None:
    """ValueError where a whitened direction has no variance: dividing by it makes noise of variance 1.

    The rounding of a covariance's eigenvalues is D·eps of the largest; what lies below is not variance.
    """
    if not getattr(step, "whiten", False):
        return
    variance = step.explained_variance_
    rounding = variance[0] * step.n_features_in_ * np.finfo(variance.dtype).eps
    rank = int((variance > rounding).sum())
    if rank < len(variance):
        advice = f"write whiten:{rank}" if rank else "it cannot be whitened"
        raise ValueError(f"the data varies in {rank} directions, not in {len(variance)}: {advice}")
