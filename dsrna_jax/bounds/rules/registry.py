"""The rules of all families by the name of their primitive, and `register`, which adds one."""

from collections.abc import Callable

from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.rules import (
    affine,
    comparisons,
    convolutions,
    curves,
    fourier,
    gathers,
    piecewise,
    products,
    reductions,
    scatters,
    steps,
)
from dsrna_jax.bounds.rules.building import Rule, rewritten

FAMILIES = (affine, products, convolutions, curves, piecewise, comparisons, steps, reductions, gathers, scatters, fourier)
RULES: dict[str, Rule] = {name: rule for family in FAMILIES for name, rule in family.RULES.items()}


def register(primitive: str, rule: Curve | Callable) -> None:
    """Adds a rule for a primitive, or replaces the one it has, for the rest of the process.

    Args:
      primitive: its name, as `jax.make_jaxpr` shows it.
      rule: a `Curve`, for a smooth elementwise function of one value; or a function of the primitive's operands and, by keyword,
        its parameters, which computes the same by operations that have rules.

    It also counts where the operation would complete a function that is bounded as a whole (`functions`).
    """
    made = curves.curve(rule) if isinstance(rule, Curve) else rewritten(rule)
    made.is_registered = True
    RULES[primitive] = made
