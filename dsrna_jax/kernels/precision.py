"""The precision of matrix products within a primitive: what was asked for where it was called, not where it is lowered."""

from collections.abc import Callable

import jax


def asked_for() -> str | None:
    """What `jax.default_matmul_precision` says here; a parameter for primitives whose lowering is `precise`."""
    return jax.config.jax_default_matmul_precision


def precise(lowering: Callable) -> Callable:
    """`lowering` with one more parameter: the precision of its matrix products."""

    def at_precision(*operands, precision, **params):
        with jax.default_matmul_precision(precision):
            return lowering(*operands, **params)

    return at_precision


def in_full(lowering: Callable) -> Callable:
    """A `precise` lowering at full precision, whatever was asked for: for CPUs, which have no other.

    XLA takes products of different precision for different ones, and would compute a network and its bounds' centre apart.
    """
    return lambda *operands, precision, **params: lowering(*operands, precision="highest", **params)
