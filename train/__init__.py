"""Training in JAX: recipes, data, tasks, optimizers and the loop. `python -m train.run --list`.

`RECIPES` and `DATASETS` are plain tables; everything that needs jax is loaded when it is used.
"""


def __getattr__(name: str):
    if name == "RECIPES":
        from train.recipes import RECIPES

        return RECIPES
    if name == "DATASETS":
        from train.data.datasets import DATASETS

        return DATASETS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
