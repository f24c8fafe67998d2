"""Certified radii around each example, against several targets: lower bounds of the distance to the decision boundary."""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Bool, Float, Int

from dsrna_jax import bounds, inputs
from dsrna_jax.attacks.ball import check_norm
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys
from dsrna_jax.attacks.predictions import as_partial
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify.radius_search import FIRST_RADIUS, box_diameter, largest_radii, lost_share
from dsrna_jax.runtime import sharding

MINIMUM = "minimum"  # over all wrong classes: no perturbation of this size changes the class
TARGETS = (MINIMUM, "random", "least_likely", "runner_up")  # the last three as in CNN-Cert (Boopathy et al. 2019)


def certified_radii(
    logits_fn: LogitsFn,
    images: Float[Array | np.ndarray, "batch *image"],
    labels: Int[np.ndarray, " batch"],
    key: KeyOrKeys | None = None,
    *,
    targets: Sequence[str] = TARGETS,
    norm: str = "linf",
    method: str = "crown_ibp",
    clip: tuple[float, float] | None = None,
    chunk: int = 64,
    arithmetic: str = "evaluated",
    steps: int = 20,
    accuracy: float = 0.01,
    mesh: Mesh | None = None,
    pause: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, "target batch"]:
    """Certified radii against each of the targets, in that order: lower bounds; 0 for misclassified images.

    Unlike `bounds.certified_radius`, the search is on the host, and each evaluation bounds the margins against all classes.

    Args:
      key: draws the class of the target "random".
      targets: some of `TARGETS`.
      norm, method, clip, chunk, arithmetic: as in `bounds.margin`.
      steps: the most radii that are tried for a target.
      accuracy: relative, of the search.
      mesh: devices that share the batch, which must be divided among them; None for one device.
      pause: is called between two radii.
    Raises: InputError if logits are not finite, images not in [0, 1], or labels not classes; for another norm than linf or l2.
    """
    check_norm(norm, tuple(FIRST_RADIUS))
    inputs.check_counts(steps=steps)
    inputs.check_radius(accuracy, None, name="accuracy", is_finite=True)
    inputs.check_images(images)
    network = as_partial(logits_fn)
    classes = inputs.class_count(jax.eval_shape(network, images), len(images))
    inputs.check_labels(labels, len(images), classes)
    draws = np.asarray(jax.vmap(jax.random.uniform)(example_keys(key, len(labels))))
    logits = np.asarray(jax.jit(sharding.by_example(lambda f, images: f(images), mesh))(network, images))
    if not np.isfinite(logits).all():
        raise InputError("logits are not finite: expected those of a network whose training went well")
    chosen = rivals(logits, labels, draws)[[TARGETS.index(target) for target in targets]]
    correct = logits.argmax(1) == labels

    options = {"norm": norm, "method": method, "clip": clip, "chunk": chunk, "arithmetic": arithmetic, "mesh": mesh}

    clean = _clean_margins(logits, labels)

    def lost(radius):
        margins = np.asarray(margins_of(network, images, labels, radius=radius, **options), float)
        shares = np.where(chosen, lost_share(clean, margins), -np.inf).max(-1)
        is_normal = np.asarray(radius) >= np.finfo(np.float32).tiny  # smaller ones count as 0 in some operations
        return np.where(is_normal, shares, np.inf)

    limit = box_diameter(norm, images.shape[1:])
    return largest_radii(
        lost, len(targets), correct, start=FIRST_RADIUS[norm], limit=limit, steps=steps, accuracy=accuracy, pause=pause
    )


@functools.partial(jax.jit, static_argnames=("norm", "method", "clip", "chunk", "arithmetic", "mesh"))
def margins_of(
    logits_fn: Partial,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    *,
    radius: Float[Array, " batch"],
    norm: str,
    method: str,
    clip: tuple[float, float] | None,
    chunk: int,
    arithmetic: str,
    mesh: Mesh | None = None,
) -> Float[Array, "batch other_class"]:
    """`bounds.class_margins` as one compiled program."""
    options = {"norm": norm, "method": method, "clip": clip, "chunk": chunk, "arithmetic": arithmetic}

    def margins(network, images, labels, radius):
        return bounds.class_margins(network, images, labels, radius=radius, **options)

    return sharding.by_example(margins, mesh)(logits_fn, images, labels, radius)


def rivals(
    logits: Float[np.ndarray, "batch class"], labels: Int[np.ndarray, " batch"], draws: Float[np.ndarray, " batch"]
) -> Bool[np.ndarray, "target batch other_class"]:
    """Mask of the other classes, in ascending order, that each of `TARGETS` is about.

    Args:
      draws: uniform in [0, 1), which choose the random targets.
    """
    batch, classes = logits.shape
    others = _other_classes(labels, classes)
    ranked = np.argsort(-np.take_along_axis(logits, others, 1), axis=1, kind="stable")
    chosen = np.stack([(draws * (classes - 1)).astype(int), ranked[:, -1], ranked[:, 0]])
    return np.concatenate([np.ones((1, batch, classes - 1), bool), chosen[..., None] == np.arange(classes - 1)])


def _clean_margins(logits, labels):
    """Margins of the label against the other classes, in ascending order, as `bounds.class_margins` bounds them."""
    logits = logits.astype(float)
    own = np.take_along_axis(logits, labels[:, None], 1)
    return own - np.take_along_axis(logits, _other_classes(labels, logits.shape[1]), 1)


def _other_classes(labels, classes):
    return np.arange(classes - 1) + (np.arange(classes - 1) >= labels[:, None])
