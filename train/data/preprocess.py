"""scikit-learn's preprocessing by name, fitted on the training split alone.

    train, test, fitted = preprocess(["standardize", "pca:10"], train, test)

Source: sklearn.preprocessing and sklearn.decomposition, which are imported only when `preprocess` is called.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from train.data.transforms.syntax import ParsedTransform, TransformKind, parse_step, read_size

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def _read_components(count: str | None = None) -> tuple:
    return (None if count is None else read_size(count),)


PREPROCESSING: dict[str, TransformKind] = {
    "center": TransformKind("center", "subtract the mean of each column", lambda: ()),
    "scale": TransformKind("scale",
        "scale each column to [-1, 1] by its minimum and maximum; a constant column becomes -1", lambda: ()),
    "standardize": TransformKind("standardize",
        "scale each column to mean 0 and standard deviation 1; a constant column becomes 0", lambda: ()),
    "pca": TransformKind("pca[:K]",
        "project onto the K directions with the largest variance; without K, onto all directions",
        _read_components),
    "whiten": TransformKind("whiten[:K]",
        "project as pca does, then scale each direction to variance 1", _read_components),
}  # fmt: skip


def parse_preprocessing(names: Sequence[str]) -> tuple[ParsedTransform, ...]:
    """The steps of names such as ("center", "pca:10"). ValueError for a name that is not in PREPROCESSING."""
    return tuple(parse_step(PREPROCESSING, name, "preprocessing") for name in names)


def preprocess(
    names: Sequence[str], train: np.ndarray, test: np.ndarray
) -> tuple[np.ndarray, np.ndarray, "Pipeline"]:
    """(train, test, the fitted pipeline): both splits after the steps, in the order of their names.

    train, test: (N, D) or (N, H, W, C). Images are flattened to (N, H·W·C). They get their shape back unless
    the number of columns has changed; then the result is (N, K). float64 stays float64, smaller types become
    float32, larger integers float64.
    Errors: ValueError if scikit-learn refuses the data, or if whitening would divide by rounding noise.
    """
    from sklearn.pipeline import make_pipeline

    train, test = np.asarray(train), np.asarray(test)
    if train.ndim < 2 or train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"preprocessing takes two arrays (N, ...) whose rows have the same shape, got {train.shape} and "
            f"{test.shape}"
        )
    steps = [_estimator(step) for step in parse_preprocessing(names)]
    fitted = make_pipeline(*steps or ["passthrough"])
    try:
        rows, test_rows = _rows(train, least=2), _rows(test, least=1)
        with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0, if the total variance is 0
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
    """The array (N, ...) as floats (N, D). ValueError for fewer than `least` rows, NaN or infinity."""
    from sklearn.utils import check_array

    rows = array.reshape(len(array), math.prod(array.shape[1:]))
    dtype: Any = np.promote_types(array.dtype, np.float32)
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
    """Raises ValueError if a whitened direction has no variance.

    Its computed variance is rounding noise; dividing by it would amplify rounding noise to variance 1. The
    eigenvalues of a covariance have a rounding error of D·eps times the largest; smaller ones count as 0.
    """
    if not getattr(step, "whiten", False):
        return
    variance = step.explained_variance_
    rounding = variance[0] * step.n_features_in_ * np.finfo(variance.dtype).eps
    rank = int((variance > rounding).sum())
    if rank < len(variance):
        advice = f"write whiten:{rank}" if rank else "it cannot be whitened"
        raise ValueError(f"the data varies in {rank} directions, not in {len(variance)}: {advice}")
