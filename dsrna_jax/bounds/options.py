"""The keyword arguments that the functions of `bounds` share, checked in one place."""

import dataclasses
from collections.abc import Mapping

import jax
import optax
from jaxtyping import Array, Float

from dsrna_jax.bounds.balls import Ball, Box, region
from dsrna_jax.bounds.methods import Method, method_named
from dsrna_jax.bounds.rounding import Rounding, rounding_of
from dsrna_jax.errors import InputError, shown
from dsrna_jax.inputs import check_clip, check_counts

Given = Mapping[str, tuple[jax.Array, jax.Array]]
Shares = jax.Array | tuple[jax.Array, jax.Array]  # of an operation whose planes may be chosen, as in `relaxations`
Slopes = str | Mapping[str, Shares]


@dataclasses.dataclass(frozen=True)
class Ascent:
    """The optimisation of slopes.

    iterations: the most steps.
    shared: whether rows that are bounded at a time have the same slopes, those with the best sum, rather than slopes of their
      own. These take less memory by the number of rows, and are looser.
    optimizer: of the shares, which are cut to 0 to 1 after each step; None for Adam with a step of 0.5 that falls by 2 % a step.
      Its steps are those of hinges: other operations take them times their `pace`.
    """

    iterations: int
    shared: bool = False
    optimizer: optax.GradientTransformation | None = None

    @property
    def steps(self) -> optax.GradientTransformation:
        """The optimizer, or the default."""
        return self.optimizer if self.optimizer is not None else optax.adam(optax.exponential_decay(0.5, 1, 0.98))


@dataclasses.dataclass(frozen=True)
class Options:
    """The inputs that a bound holds for, and how it is computed: keyword arguments of `bounds.margin`, in its order.

    Radius and box are checked where they meet x, by `region`.
    Raises: InputError for unknown names, a chunk or iterations that are too small, or a clip that is no (low, high).
    """

    radius: float | Float[Array, "*batch"] | None = None
    norm: str = "linf"
    method: str = "crown_ibp"
    clip: tuple[float, float] | None = None
    box: Box | None = None
    chunk: int = 64
    iterations: int = 20
    given: Given | None = None
    arithmetic: str = "evaluated"
    slopes: Slopes = "neuron"
    channel_axis: int | None = None
    optimizer: optax.GradientTransformation | None = None

    def __post_init__(self):
        method_named(self.method)
        rounding_of(self.arithmetic)
        check_counts(chunk=self.chunk)
        check_counts(0, iterations=self.iterations)
        if self.channel_axis is not None and (isinstance(self.channel_axis, bool) or not isinstance(self.channel_axis, int)):
            raise InputError(f"channel_axis must be the number of an axis of x, got {shown(self.channel_axis)}")
        check_clip(self.clip)
        if not isinstance(self.slopes, Mapping) and self.slopes not in ("neuron", "shared"):
            raise InputError(f"slopes must be neuron, shared, or a dict of shares by operation, got {shown(self.slopes)}")
        if self.optimizer is not None and not isinstance(self.optimizer, optax.GradientTransformation):
            raise InputError(f"optimizer must be a transformation of optax, such as optax.adam(0.1), got {shown(self.optimizer)}")
        if isinstance(self.slopes, Mapping) and self.record.slopes == "parallel":
            raise InputError(f"method {self.method} has slopes of its own: give slopes to crown or alpha_crown")

    @property
    def record(self) -> Method:
        """The record of the method."""
        return method_named(self.method)

    @property
    def ascent(self) -> Ascent:
        """The optimisation of slopes."""
        return Ascent(self.iterations, self.slopes == "shared", self.optimizer)

    @property
    def rounding(self) -> Rounding:
        """The rounding that the arithmetic allows for."""
        return rounding_of(self.arithmetic)

    def around(self, leaves: list[jax.Array]) -> Ball:
        """The deviations from leaves [batch, ...] that the bound holds for. Raises: InputError, as `region`."""
        return region(leaves, radius=self.radius, norm=self.norm, clip=self.clip, box=self.box, channel_axis=self.channel_axis)
