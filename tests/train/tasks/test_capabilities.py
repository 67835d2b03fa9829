"""What a task can do is declared by its recipe, and the task provides it."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import tiny_recipe
from torch_models.steps import REFERENCE_STEPS
from train.engine.runs import load_run
from train.recipes import RECIPE_CLASSES, RECIPES, Capability
from train.tasks import build_task, contract
from train.tasks.models import abstract_model

PROTOCOLS = {
    Capability.PREDICT: contract.Predictor,
    Capability.CLASSIFY: contract.Classifier,
    Capability.SAMPLE: contract.Sampler,
    Capability.TRANSLATE: contract.Translator,
    Capability.ANSWER: contract.Answerer,
}
"""The protocol that each capability promises."""
PICTURE = Path(__file__).parents[3] / "docs" / "images" / "vae.png"
CALLS: dict[Capability, Any] = {
    Capability.PREDICT: lambda run: run.predict(np.zeros((1, 28, 28, 1), np.float32)),
    Capability.CLASSIFY: lambda run: run.classify(np.zeros((1, 28, 28, 1), np.float32)),
    Capability.SAMPLE: lambda run: run.sample(1),
    Capability.TRANSLATE: lambda run: run.translate(1),
    Capability.ANSWER: lambda run: run.answer(files=[PICTURE]),
}
"""The call of a run that needs each capability."""


def test_every_capability_has_a_protocol_and_a_call():
    assert PROTOCOLS.keys() == CALLS.keys() == set(Capability)
    assert all(contract.Task in protocol.__mro__ for protocol in PROTOCOLS.values())


def test_every_task_has_a_reference_step():
    assert RECIPE_CLASSES.keys() == REFERENCE_STEPS.keys()


@pytest.mark.parametrize("model", RECIPES)
def test_a_task_provides_what_its_recipe_declares(model):
    recipe = tiny_recipe(model)
    task = build_task(recipe, abstract_model(recipe))
    assert isinstance(task, contract.Task)
    for capability in recipe.capabilities:
        protocol = PROTOCOLS[capability]
        assert isinstance(task, protocol), f"{model} cannot {capability}"
        for name, method in vars(protocol).items():
            if inspect.isfunction(method) and not name.startswith("_"):
                ours = list(inspect.signature(getattr(task, name)).parameters)
                assert ours == list(inspect.signature(method).parameters)[1:], f"{model}.{name}"


def test_a_task_without_the_methods_is_not_taken_for_one():
    recipe = tiny_recipe("lenet")
    task = build_task(recipe, abstract_model(recipe))
    assert not isinstance(task, contract.Sampler | contract.Translator)


@pytest.mark.parametrize("name", ["small_run", "classifier"])
@pytest.mark.parametrize("capability", Capability, ids=lambda capability: capability.name)
def test_a_run_without_the_capability_is_one_clear_error(name, capability, request):
    run = load_run(request.getfixturevalue(name))
    if capability in run.recipe.capabilities:
        assert CALLS[capability](run) is not None
        return
    with pytest.raises(ValueError) as error:
        CALLS[capability](run)
    able = ", ".join(sorted(run.recipe.capabilities))
    message = str(error.value)
    assert message.startswith(str(run.workdir)) and message.endswith(f"cannot {capability}; it can {able}")
    assert run.recipe.model in message and f"task {run.recipe.task}" in message


def test_a_model_that_lacks_what_the_task_needs_is_refused():
    recipe = tiny_recipe("lenet")
    gan = tiny_recipe("gan")
    with pytest.raises(ValueError, match="lacks generator, discriminator, which the task gan needs"):
        build_task(gan, abstract_model(recipe))
