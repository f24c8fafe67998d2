"""Terms of a sum of numbers >= 0, divided by it."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from dsrna_jax.bounds.relaxations.ranged import Ranged
from dsrna_jax.bounds.rounding import gamma, smallest_normal


@dataclasses.dataclass(frozen=True, eq=False)
class Share(Ranged):
    """A product p = a r of a and the inverse r of a total, within scale * [0, 1], or scale * [-1, 1].

    The parents are (a, r, p). The range holds as f evaluates p: rounding does not take a sum below its terms, but for the share
    of `count` terms that scaling loses. Where a may be infinite, or the total so small that terms flushed to 0 would count,
    there is none.

    is_signed: whether the terms are absolute values of a / scale.
    """

    scale: Any
    count: int
    is_signed: bool

    def range(self, node, intervals):
        """Between 0, or the least share, and the greatest."""
        info, (a, r) = jnp.finfo(node.value.dtype), intervals[:2]
        is_known = jnp.isfinite(a.lower) & jnp.isfinite(a.upper) & jnp.isfinite(r.lower)
        is_known &= (node.parents[1].value + r.upper) * smallest_normal(info.dtype) * self.count < float(info.eps)
        most = jnp.where(is_known, jnp.abs(self.scale) * (1 + gamma(2 * self.count + 32, info.dtype)), jnp.inf)
        if self.is_signed:
            return -most, most
        nothing = jnp.where(is_known, 0, jnp.inf)
        return jnp.where(self.scale < 0, -most, -nothing), jnp.where(self.scale < 0, nothing, most)
