"""Certified bounds of any batch-separable JAX function over balls around its inputs.

Like `jax.grad`, they take a function that closes over its weights, such as a Flax or an Equinox network, and trace it; the
function itself needs no change. All can be jitted, vmapped, and differentiated with respect to the arrays that it closes over.
Compile bounds of deep networks by `jax.jit`: called without it, every operation is compiled by itself, and loops in every call.

    lower, upper = bounds.bound(f, x, radius=0.01, norm="linf", method="crown_ibp", clip=(0.0, 1.0))
    certified = bounds.margin(f, x, labels, radius=0.01, method="crown") > 0
    radius = bounds.certified_radius(f, x, labels, norm="l2", method="crown")

Regions are balls, or a `Box` with a width of its own for each pixel: `bound(f, x, box=Box(lower, upper))`. `linear` gives the
linear functions below and above f, `specification_margins` bounds of any linear property of its outputs. `verify` decides such a
property: it proves it, or finds an input that violates it, by branch and bound.

`bound`, `deviation` and `intermediate` take f and x, and f may return anything; `margin`, `certified_radius` and their versions
for each class take (logits_fn, images, labels, key), as attacks do. `register` adds rules for primitives.

Methods, from loose and cheap to tight and expensive; `explain` estimates the cost of each for a given f:

    ibp          intervals, forwards (Gowal et al. 2018)                                  a few evaluations of f
    crown_ibp    one backward pass through planes between those (Zhang et al. 2019)       some per output
    hz_crown     hybrid zonotopes, then one backward pass                                 one per input entry
    fastlin      backward passes for every layer, parallel slopes (Weng et al. 2018)      one per neuron
    crown        the same with adaptive slopes (Zhang et al. 2018)                        one per neuron
    alpha_crown  crown with slopes optimised for every bound (Xu et al. 2021)             up to 60 times that of crown

The order is that of most bounds and of means. Slopes that are chosen by each interval can make a single bound of crown looser
than that of crown_ibp, and looser within a ball than within a larger one, or one of another norm that holds it.

Rounding: bounds are widened by allowances, derived operation by operation (docs/rounding.md). `bound`, `intermediate`, margins
and certified radii hold for f in real arithmetic and as it is evaluated in float32 or float64. `deviation`, `value_and_deviation`
and `arithmetic="exact"` allow for the arithmetic of the bounds alone, and there hz_crown by a number of roundings that is not
derived.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.bounds.api import bound, deviation, explain, intermediate, value_and_deviation
    from dsrna_jax.bounds.balls import Box
    from dsrna_jax.bounds.explanation import Cost, Explanation
    from dsrna_jax.bounds.linear_bounds import LinearBounds, linear
    from dsrna_jax.bounds.margins import certified_radius, class_certified_radii, class_margins, margin
    from dsrna_jax.bounds.relaxations.curve import Curve
    from dsrna_jax.bounds.rules.registry import register
    from dsrna_jax.bounds.slopes import optimised_slopes
    from dsrna_jax.bounds.specification import Specification, specification_margins
    from dsrna_jax.bounds.verifier.api import verify
    from dsrna_jax.bounds.verifier.verdict import Verdict

METHODS = ("ibp", "crown_ibp", "fastlin", "crown", "alpha_crown", "hz_crown")
NORMS = ("linf", "l2", "l1")

__all__ = [
    "METHODS",
    "NORMS",
    "Box",
    "Cost",
    "Curve",
    "Explanation",
    "LinearBounds",
    "Specification",
    "Verdict",
    "bound",
    "certified_radius",
    "class_certified_radii",
    "class_margins",
    "deviation",
    "explain",
    "intermediate",
    "linear",
    "margin",
    "optimised_slopes",
    "register",
    "specification_margins",
    "value_and_deviation",
    "verify",
]
# The names of methods and norms alone need no JAX.
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "Box": "balls:Box",
        "Cost": "explanation:Cost",
        "Curve": "relaxations.curve:Curve",
        "Explanation": "explanation:Explanation",
        "LinearBounds": "linear_bounds:LinearBounds",
        "Specification": "specification:Specification",
        "Verdict": "verifier.verdict:Verdict",
        "bound": "api:bound",
        "certified_radius": "margins:certified_radius",
        "class_certified_radii": "margins:class_certified_radii",
        "class_margins": "margins:class_margins",
        "deviation": "api:deviation",
        "explain": "api:explain",
        "intermediate": "api:intermediate",
        "linear": "linear_bounds:linear",
        "margin": "margins:margin",
        "optimised_slopes": "slopes:optimised_slopes",
        "register": "rules.registry:register",
        "specification_margins": "specification:specification_margins",
        "value_and_deviation": "api:value_and_deviation",
        "verify": "verifier.api:verify",
    },
)
