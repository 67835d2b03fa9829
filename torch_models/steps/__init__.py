"""The reference training step of each task, in plain PyTorch.

A step is built from a model and its optimizers. The call takes a batch (NCHW) and the random numbers of the
step (`noise`), trains the model in place and returns the losses. The certificate compares the Flax steps with
these, and the benchmarks compare their times.
"""

from torch_models.steps.autoencode import AutoencodeStep
from torch_models.steps.cyclegan import CycleGANStep
from torch_models.steps.gan import GANStep
from torch_models.steps.sequences import CaptionStep, ReadStep, RewriteStep
from torch_models.steps.supervised import ClassifyStep, SupervisedStep, TagStep

REFERENCE_STEPS = {
    "autoencode": AutoencodeStep,
    "cyclegan": CycleGANStep,
    "gan": GANStep,
    "classify": ClassifyStep,
    "regress": SupervisedStep,
    "sequence": SupervisedStep,
    "language": ClassifyStep,
    "transfer": ClassifyStep,
    "tag": TagStep,
    "rewrite": RewriteStep,
    "read": ReadStep,
    "caption": CaptionStep,
}
