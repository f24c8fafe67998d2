"""Functions that XLA compiles apart from what surrounds them."""

from collections.abc import Callable

import jax
from jax.experimental.xla_metadata import set_xla_metadata


def apart(f: Callable, *arrays):
    """f(*arrays), for a CPU: fusion stops at a call that XLA may not inline.

    For what is quick as a loop of its own and slow, or computed many times over, as a part of those that follow.
    """
    return set_xla_metadata(jax.jit(f)(*arrays), inlineable="false")
