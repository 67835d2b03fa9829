"""The losses of adversarial training; their twins are in `torch_models/steps/gan.py`.

A row of LOSSES is a pair (discriminator loss, generator loss). The discriminator loss is a function of the
discriminator's outputs for real and for generated examples, (N, 1) each; the generator loss is a function of
its outputs for generated examples.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from train.tasks.losses.supervised import binary_cross_entropy


def bce_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-log D(x) - log(1 - D(G(z))) on logits: the mean over real plus the mean over fake."""
    loss = optax.sigmoid_binary_cross_entropy
    return loss(real, jnp.ones_like(real)).mean() + loss(fake, jnp.zeros_like(fake)).mean()


def bce_generator_loss(fake: jax.Array) -> jax.Array:
    """-log D(G(z)) on logits."""
    return optax.sigmoid_binary_cross_entropy(fake, jnp.ones_like(fake)).mean()


def probability_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-log D(x) - log(1 - D(G(z))) on probabilities, by torch's BCELoss."""
    loss = binary_cross_entropy
    return loss(real, jnp.ones_like(real)).mean() + loss(fake, jnp.zeros_like(fake)).mean()


def half_probability_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Half of `probability_discriminator_loss`."""
    return probability_discriminator_loss(real, fake) / 2


def probability_generator_loss(fake: jax.Array) -> jax.Array:
    """-log D(G(z)) on probabilities, by torch's BCELoss."""
    return binary_cross_entropy(fake, jnp.ones_like(fake)).mean()


def minimax_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-mean(log D(x) + log(1 - D(G(z)))) on probabilities, as in the paper."""
    return -(jnp.log(real) + jnp.log(1 - fake)).mean()


def minimax_generator_loss(fake: jax.Array) -> jax.Array:
    """mean log(1 - D(G(z))) on probabilities."""
    return jnp.log(1 - fake).mean()


def least_squares_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2. Mao et al. 2017."""
    return (jnp.square(real - 1).mean() + jnp.square(fake).mean()) / 2


def least_squares_generator_loss(fake: jax.Array) -> jax.Array:
    """(D(G(z)) - 1)^2 / 2."""
    return jnp.square(fake - 1).mean() / 2


def wasserstein_discriminator_loss(real: jax.Array, fake: jax.Array) -> jax.Array:
    """D(G(z)) - D(x), for a critic with unbounded output.

    Arjovsky, Chintala & Bottou, "Wasserstein GAN" (2017).
    """
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: jax.Array) -> jax.Array:
    """-D(G(z))."""
    return -fake.mean()


LOSSES = {
    "bce": (bce_discriminator_loss, bce_generator_loss),
    "probability": (probability_discriminator_loss, probability_generator_loss),
    "half_probability": (half_probability_discriminator_loss, probability_generator_loss),
    "minimax": (minimax_discriminator_loss, minimax_generator_loss),
    "least_squares": (least_squares_discriminator_loss, least_squares_generator_loss),
    "wasserstein": (wasserstein_discriminator_loss, wasserstein_generator_loss),
}


def gradient_penalty(
    discriminator: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array, mix: jax.Array
) -> jax.Array:
    """The squared distance between the discriminator's gradient norm and 1 (the mean over the batch).

    It is mean((|dD/dx| - 1)^2).

    discriminator: (N, ...) -> (N, 1). The gradient is taken at mix * real + (1 - mix) * fake, with mix (N,)
    in [0, 1]. Gulrajani et al., "Improved Training of Wasserstein GANs" (2017).
    """
    mix = mix.reshape(-1, *[1] * (real.ndim - 1)).astype(real.dtype)
    gradients = jax.grad(lambda x: discriminator(x).sum())(mix * real + (1 - mix) * fake)
    squares = jnp.square(gradients).reshape(len(gradients), -1).sum(axis=1)
    # The root has no gradient at 0; torch takes 0 there.
    norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    return jnp.square(norms - 1).mean()
