"""R of DSRNA-CB: one of the `certificates`, with the metrics that a search records."""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dsrna_jax.errors import InputError
from dsrna_jax.measures.certificates import CERTIFICATES, log_certified_radius
from dsrna_jax.measures.measure import Measure, Measured, mean_robustness
from dsrna_jax.measures.units import in_unit


def measure(config: Any) -> Measure:
    """The measure of a configuration's `certificate`, with its norm, method, `entries` and `metric_unit`.

    It takes a `NetworkFunction`, whose stages it bounds, in float32 whatever the type of its maps.
    Raises: InputError for an unknown certificate.
    """
    if config.certificate not in CERTIFICATES:
        raise InputError(f"unknown certificate {config.certificate!r}; expected one of {', '.join(CERTIFICATES)}")
    ball = {"norm": config.certificate_norm, "method": config.certificate_method}
    options = {"entries": config.entries, "unit": config.metric_unit, **ball}
    return Measure(
        _in_float32(functools.partial(CERTIFICATES[config.certificate], **options)),
        f"R {config.certificate} {config.certificate_method} {config.certificate_norm}{in_unit(config.metric_unit)}",
        # The slack of cells is not that of the whole network.
        radius_metrics if config.certificate == "cell" else certified_metrics,
        _in_float32(functools.partial(log_certified_radius, norm=config.certificate_norm)),
    )


def _in_float32(certificate: Callable) -> Callable:
    """A certificate of the network whose maps have the type of the images: bounds refuse those of 16 bits."""
    return lambda network, *arguments, **options: certificate(network.in_float32, *arguments, **options)


def radius_metrics(measured: Measured, log_radius: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
    """Mean R, and the logarithm of the radius at which it was taken."""
    return mean_robustness(measured, log_radius) | {"log_radius": log_radius}


def certified_metrics(measured: Measured, log_radius: Float[Array, ""]) -> dict[str, Float[Array, ""]]:
    """`radius_metrics`, and the share of the batch that is certified at that radius."""
    return radius_metrics(measured, log_radius) | {"certified_accuracy": jnp.mean(measured.slack > 0)}
