"""The interface of robustness measures R (DSRNA Eq. 16), which are differentiable; higher is more robust."""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.errors import InputError
from dsrna_jax.measures import MEASURES


class Measured(NamedTuple):
    """A measure of a batch.

    logits: of the images, computed on the way.
    robustness: R of each image.
    slack: of each image, in nats, which radius schedules follow (`certificates`); zero for measures without a radius.
    """

    logits: Float[Array, "batch classes"]
    robustness: Float[Array, " batch"]
    slack: Float[Array, " batch"]


def mean_robustness(measured: Measured, log_radius: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
    """The mean of R over the batch: the metric that every measure except `none` records."""
    return {"robustness": measured.robustness.mean()}


@dataclasses.dataclass(frozen=True)
class Measure:
    """A robustness measure with its options.

    apply: (logits_fn, images, labels, key=None, *, log_radius) -> Measured. `logits_fn` maps images [batch, ...] in [0, 1] to
      logits, each image by itself. Logits and R can be differentiated by arrays that it closes over (alphas, weights). A measure
      may ignore labels, key and radius. The radius, in pixel units, is passed as its logarithm, since deep supernets need radii
      too small for float32.
    label: of R, in pictures.
    metrics: (measured, log_radius) -> scalars that a search records after each step of the alphas.
    log_certified_radius: (logits_fn, images, labels, *, log_start) -> [batch], the logarithm of a certified radius of the whole
      network in pixel units, by a search that starts at `log_start`; None for a measure that certifies nothing.
    """

    apply: Callable[..., Measured]
    label: str = "R"
    metrics: Callable[[Measured, Any], dict[str, Any]] = mean_robustness
    log_certified_radius: Callable[..., Float[Array, " batch"]] | None = None


def configured(config: Any) -> Measure:
    """The measure that a configuration names by its `metric`, with its options from the other fields.

    Raises: InputError for a name that is not in `MEASURES`, or options that do not go together.
    """
    if config.metric not in MEASURES:
        raise InputError(f"unknown robustness measure {config.metric!r}; expected one of {', '.join(MEASURES)}")
    return importlib.import_module(MEASURES[config.metric].name).measure(config)


def without_slack(logits: Float[Array, "batch classes"], robustness: Float[Array, " batch"]) -> Measured:
    """The result of a measure without a radius: its slack is zero."""
    return Measured(logits, robustness, jnp.zeros_like(robustness))


def known(robustness: Float[Array, " batch"], logits: Float[Array, "batch classes"]) -> Float[Array, " batch"]:
    """R, NaN where a logit is NaN: a network that has diverged is not robust, and a search stops where R is not finite."""
    return jnp.where(jnp.isnan(logits).any(1), jnp.nan, robustness)
