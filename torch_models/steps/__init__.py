"""The reference training step of each task, in plain PyTorch.

A step is built from a model and its optimizers and called with a batch (NCHW) and the random
numbers of the step; it trains the model in place and returns the losses. The certificate holds
the Flax step to these, and the benchmarks time against them.
"""

from torch_models.steps.autoencode import AutoencodeStep
from torch_models.steps.cyclegan import CycleGANStep
from torch_models.steps.gan import GANStep
from torch_models.steps.supervised import ClassifyStep, SupervisedStep, TagStep

STEPS = {
    "autoencode": AutoencodeStep,
    "cyclegan": CycleGANStep,
    "gan": GANStep,
    "classify": ClassifyStep,
    "regress": SupervisedStep,
    "sequence": SupervisedStep,
    "language": ClassifyStep,
    "tag": TagStep,
}
