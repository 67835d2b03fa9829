"""Deep dream: Mordvintsev, Olah & Tyka, "Inceptionism: Going Deeper into Neural Networks" (2015).

A public class, not a model of the catalogue: it works with the `features` of a trained classifier.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

# Of the images of ImageNet in [0, 1], per channel; torchvision's published classifiers expect them.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class DeepDream(nn.Module):
    """Images (N, 3, H, W) in [0, 1] -> images of the same shape, in which a layer is more active.

    features: the modules of a convolutional network. layer: n means the output of the first n of them. Each
    iteration adds `rate` times the gradient of the L2 norm of this output to the normalised image.
    accumulate: the gradients of all iterations are summed, as torch does when nothing resets them; False uses
    the gradient of the iteration alone. It computes gradients, so it is no TorchScript.
    """

    def __init__(
        self, features: Iterable[nn.Module], layer: int, iterations: int = 5, rate: float = 0.2,
        accumulate: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.features = nn.Sequential(*list(features)[:layer])
        self.iterations, self.rate, self.accumulate = iterations, rate, accumulate

    def forward(self, images: Tensor) -> Tensor:
        x = self.normalize(images)
        gradient = torch.zeros_like(x)
        for _ in range(self.iterations):
            x, gradient, _ = self.iterate(x, gradient)
        return self.denormalize(x)

    def iterate(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(the next x, the gradient that was added, the norms (N,) of x) for a normalised x (N, 3, H, W)."""
        norms, new = self.norms_and_gradient(x)
        gradient = gradient + new if self.accumulate else new
        return x + self.rate * gradient, gradient, norms

    def norms_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The norms (N,) of the layer's output, and their gradient (N, 3, H, W); 0 where a norm is 0."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            norms = torch.linalg.vector_norm(self.features(x), dim=(1, 2, 3))
            (gradient,) = torch.autograd.grad(norms.sum(), x)
        return norms.detach(), gradient

    def normalize(self, images: Tensor) -> Tensor:
        """Images in [0, 1] as the network takes them."""
        return (images - images.new_tensor(MEAN).view(3, 1, 1)) / images.new_tensor(STD).view(3, 1, 1)

    def denormalize(self, x: Tensor) -> Tensor:
        """The inverse of `normalize`, clipped to [0, 1]."""
        return (x * x.new_tensor(STD).view(3, 1, 1) + x.new_tensor(MEAN).view(3, 1, 1)).clip(0, 1)
