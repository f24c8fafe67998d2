"""Certified bounds of any batch-separable JAX function over balls around its inputs.

As `jax.grad` does, they take a function: a Flax, Equinox or plain one, closing over its weights. They trace it, and no line of it
has to know. All can be jitted, vmapped, and differentiated by whatever the function closes over.

    lower, upper = bounds.bound(f, x, radius=0.01, norm="linf", method="crown_ibp", clip=(0.0, 1.0))
    certified = bounds.margin(f, x, labels, radius=0.01, method="crown") > 0
    radius = bounds.certified_radius(f, x, labels, norm="l2", method="crown")

Methods, from loose and cheap to tight and dear; `explain` tells what each would cost for a given f:

    ibp          intervals, forwards (Gowal et al. 2018)                                  a few clean passes
    crown_ibp    one backward pass between those intervals (Zhang et al. 2019)            some passes an output
    hz_crown     hybrid zonotopes, then one backward pass                                 one pass an input entry
    fastlin      backward passes for every layer, parallel slopes (Weng et al. 2018)      one pass a neuron
    crown        the same with adaptive slopes (Zhang et al. 2018)                        one pass a neuron
    alpha_crown  crown, then lower slopes optimised for every output (Xu et al. 2021)     crown, and 60 passes an output

Rounding: bounds are those of f in real arithmetic, computed in the precision of x, and widened by `ROUNDING` units of that
precision times the absolute terms that make them up. That exceeds what evaluating f rounds away in every network it was tested
on; it is no proof. In float64 it is negligible, and so is what it guards against.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.bounds.api import bound, deviation, explain, intermediate, value_and_deviation
    from dsrna_jax.bounds.explanation import Cost, Explanation
    from dsrna_jax.bounds.margins import certified_radius, class_certified_radii, class_margins, margin
    from dsrna_jax.bounds.relaxations.curve import Curve
    from dsrna_jax.bounds.rules.registry import register

METHODS = ("ibp", "crown_ibp", "fastlin", "crown", "alpha_crown", "hz_crown")
NORMS = ("linf", "l2", "l1")

__all__ = [
    "METHODS",
    "NORMS",
    "Cost",
    "Curve",
    "Explanation",
    "bound",
    "certified_radius",
    "class_certified_radii",
    "class_margins",
    "deviation",
    "explain",
    "intermediate",
    "margin",
    "register",
    "value_and_deviation",
]
# The names of methods and norms alone need no JAX.
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "Cost": "explanation:Cost",
        "Curve": "relaxations.curve:Curve",
        "Explanation": "explanation:Explanation",
        "bound": "api:bound",
        "certified_radius": "margins:certified_radius",
        "class_certified_radii": "margins:class_certified_radii",
        "class_margins": "margins:class_margins",
        "deviation": "api:deviation",
        "explain": "api:explain",
        "intermediate": "api:intermediate",
        "margin": "margins:margin",
        "register": "rules.registry:register",
        "value_and_deviation": "api:value_and_deviation",
    },
)
