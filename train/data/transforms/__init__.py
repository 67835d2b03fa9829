"""Image transforms: their names and shapes without jax, and the array code in `ops`."""

from train.data.transforms.table import TRANSFORMS, Transforms, parse_transforms

__all__ = ["TRANSFORMS", "Transforms", "parse_transforms"]
