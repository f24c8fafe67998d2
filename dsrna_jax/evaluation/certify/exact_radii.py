"""Radii by the complete verifier: exact within a tolerance wherever it finds its answers in time."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from dsrna_jax import bounds, inputs
from dsrna_jax.attacks.predictions import as_partial
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.evaluation.certify.radius_search import FIRST_RADIUS, box_diameter, is_settled, next_radius
from dsrna_jax.evaluation.timed_verdict import timed_verdict

INTERMEDIATE = "hz_crown"  # the method of the bounds that all sub-problems share


class Radii(NamedTuple):
    """The distance to the decision boundary in l-infinity, between two numbers.

    certified: the largest radius that was verified; 0 for misclassified images.
    attacked: the distance of the nearest counterexample; infinity if none was found, 0 for misclassified images.
    """

    certified: Float[np.ndarray, " batch"]
    attacked: Float[np.ndarray, " batch"]


def verified_radii(
    logits_fn: LogitsFn,
    images: Float[Array | np.ndarray, "batch *image"],
    labels: Int[np.ndarray, " batch"],
    *,
    clip: tuple[float, float] | None = None,
    timeout: float = 60.0,
    steps: int = 20,
    accuracy: float = 0.01,
    pause: Callable[[], None] = lambda: None,
) -> Radii:
    """Radii of each image by `timed_verdict`, one after the other: the logarithm of the radius is bisected.

    Args:
      clip: the range that perturbed pixels stay in; None for no limit.
      timeout: seconds for each radius; one that is not decided counts as too large for a certificate.
      steps: the most radii that are tried for an image.
      accuracy: relative, at which the search ends.
      pause: is called between two radii.
    Raises: InputError as `bounds.verify`, or for images not in [0, 1] or labels that are not classes.
    """
    inputs.check_images(images)
    inputs.check_clip(clip)
    inputs.check_counts(steps=steps)
    inputs.check_radius(accuracy, None, name="accuracy", is_finite=True)
    network = as_partial(logits_fn)
    classes = inputs.class_count(jax.eval_shape(network, images), len(images))
    inputs.check_labels(labels, len(images), classes)
    correct = np.asarray(jax.jit(lambda f, x: f(x))(network, images)).argmax(1) == labels
    limit, brackets = box_diameter("linf", images.shape[1:]), []
    for image, label, is_correct in zip(np.asarray(images), labels, correct, strict=True):
        specification = bounds.Specification.of_label(jnp.array([label]), classes)

        def verdict(radius, image=image, specification=specification):
            exact, wide = image[None].astype(np.float64), np.float64(radius)  # in float32 the ball would lose parts of its border
            low, high = clip or (-np.inf, np.inf)
            region = bounds.Box(np.clip(exact - wide, low, high), np.clip(exact + wide, low, high))
            return timed_verdict(network, region, specification, timeout=timeout, method=INTERMEDIATE)

        brackets.append(_bracketed(verdict, image, limit, steps, accuracy, pause) if is_correct else (0.0, 0.0))
    return Radii(*np.array(brackets, float).reshape(-1, 2).T)


def _bracketed(verdict, image, limit, steps, accuracy, pause) -> tuple[float, float]:
    """(the largest radius verified, the distance of the nearest counterexample) of a correctly classified image."""
    certified, attacked, ceiling, factor = 0.0, np.inf, np.inf, 2.0
    for _ in range(steps):
        if is_settled(certified, ceiling, limit=limit, accuracy=accuracy):
            break
        radius, factor = next_radius(certified, ceiling, factor, start=FIRST_RADIUS["linf"], limit=limit)
        radius = np.float32(radius)
        if radius < np.finfo(np.float32).tiny:
            break
        answer = verdict(radius)
        pause()
        if answer.status == "verified":
            certified = max(certified, float(radius))
        elif answer.status == "counterexample":
            attacked = min(attacked, float(np.abs(answer.counterexample - image.astype(float)).max()))
        ceiling = min(ceiling, attacked, np.inf if answer.status == "verified" else float(radius))
    return certified, attacked
