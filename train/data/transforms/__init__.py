"""Image transforms: `table` has their names and shapes, without jax; `ops` has the array code."""

from train.data.transforms.table import TRANSFORMS, Transforms, parse_transforms

__all__ = ["TRANSFORMS", "Transforms", "parse_transforms"]
