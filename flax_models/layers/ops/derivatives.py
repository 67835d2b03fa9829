"""A typed decorator for functions with a derivative of their own."""

from collections.abc import Callable
from typing import TypeVar, cast

import jax

Result = TypeVar("Result")


def custom_vjp(nondiff_argnum: int) -> Callable[[Callable[..., Result]], "jax.custom_vjp[Result]"]:
    """jax.custom_vjp as a decorator, for a function with one argument that is not differentiated.

    With partial(jax.custom_vjp, ...) as decorator, type checkers lose the function's result type.
    """

    def decorate(function: Callable[..., Result]) -> "jax.custom_vjp[Result]":
        # JAX infers a union with another class, which it makes only under a hidden flag.
        return cast("jax.custom_vjp[Result]", jax.custom_vjp(function, nondiff_argnums=(nondiff_argnum,)))

    return decorate
