"""RECIPES: how each model is trained, one row per model.

A row's own values are those of its default data set, which is embedded and trains on a CPU in
minutes; `overrides` carries what its source gives for the real one.
"""

from train.config import Adam, GANRecipe, Recipe
from train.lookup import look_up

RECIPES: dict[str, Recipe] = {
    # Radford et al. 2016, in the form of a PyTorch course: 28x28, BCE on logits, one noise batch
    # for both halves of a step.
    "dcgan": GANRecipe(
        model="dcgan",
        dataset="digits",
        epochs=120,
        batch_size=128,
        generator_optimizer=Adam(lr=3e-4, betas=(0.5, 0.999)),
        discriminator_optimizer=Adam(lr=3e-4, betas=(0.5, 0.999)),
        expect="digits that a person recognises, in about 10 minutes on two cores",
        overrides={"mnist": {"epochs": 5, "take": 50_000, "shuffle": False, "sample_every": 250}},
    ),
}


def find_recipe(model: str) -> Recipe:
    """RECIPES[model]; ValueError with near matches where there is none."""
    return look_up(RECIPES, model, "model")
