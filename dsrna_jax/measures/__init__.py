"""Robustness measures R (DSRNA Eq. 16), which the alphas of a search maximise besides minimising the validation loss.

A measure is one module with a function `measure(config) -> Measure` (`measures.measure`), and its entry in `MEASURES`:

    none        R = 0: plain architecture search
    jacobian    minus the mean norm of the rows of the input-output Jacobian (Eq. 15)
    certified   from certified bounds over a ball around each image: DSRNA-CB (section 3.1.1)

`jacobian_norm` is useful by itself: the norm of the Jacobian of any batch-separable JAX function, exact or estimated.
Importing this package imports no JAX, so that configurations and commands can list its names.
"""

from typing import TYPE_CHECKING, NamedTuple

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.measures.jacobian import jacobian_norm
    from dsrna_jax.measures.measure import Measure, Measured


class MeasureModule(NamedTuple):
    """The module of a robustness measure, by its name, and what a configuration must know of it before it is imported.

    is_zero: whether R is 0 for every network.
    bounds_stages: whether it bounds the stages of a network, whose cells then mix all their operations.
    """

    name: str
    is_zero: bool = False
    bounds_stages: bool = False


MEASURES = {
    "none": MeasureModule("dsrna_jax.measures.none", is_zero=True),
    "jacobian": MeasureModule("dsrna_jax.measures.jacobian"),
    "certified": MeasureModule("dsrna_jax.measures.certified", bounds_stages=True),
}
"""The robustness measures by name. An entry such as `MEASURES["flat"] = MeasureModule("my_package.flat")` adds one."""

ESTIMABLE = {
    "exact": ("row_l2", "row_l1", "fro", "fro_squared"),
    "rows": ("row_l2", "row_l1", "fro_squared"),
    "jvp": ("row_l2", "fro_squared"),
    "sphere": ("fro_squared",),
}
"""For each method of `jacobian_norm`, the norms that it computes (exact) or estimates without bias (the others)."""

CERTIFICATES = ("cell", "margin", "radius")
RADIUS_SCHEDULES = ("controller", "fixed", "ramp")
UNITS = ("one", "margin", "std")

__all__ = [
    "CERTIFICATES",
    "ESTIMABLE",
    "MEASURES",
    "RADIUS_SCHEDULES",
    "UNITS",
    "Measure",
    "MeasureModule",
    "Measured",
    "jacobian_norm",
]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {"Measure": "measure:Measure", "Measured": "measure:Measured", "jacobian_norm": "jacobian:jacobian_norm"},
)
