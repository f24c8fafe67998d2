"""Sizes of perturbations found by attacks: upper bounds of the distance to the decision boundary."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Key

from dsrna_jax import attacks, inputs
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys
from dsrna_jax.attacks.predictions import are_fooled, as_partial, clean_predictions, predictions
from dsrna_jax.attacks.result import LogitsFn
from dsrna_jax.errors import InputError, RefutedError
from dsrna_jax.evaluation.certify.radius_search import FIRST_RADIUS, box_diameter, largest_radii


def attack_radii(
    logits_fn: LogitsFn,
    images: Float[Array | np.ndarray, "batch *image"],
    labels: Int[np.ndarray, " batch"],
    key: KeyOrKeys | None = None,
    *,
    attack: str,
    norm: str = "linf",
    steps: int,
    tries: int = 10,
    pause: Callable[[], None] = lambda: None,
) -> Float[np.ndarray, " batch"]:
    """The size of the smallest perturbation found that changes the class; 0 for misclassified images, inf if none was found.

    Each point is misclassified by a forward pass by itself. The radius of `pgd` is bisected in `tries` runs; attacks that look
    for the nearest point (`fab`, and for l2 `ddn` and `cw`) run once.

    Raises: InputError, as attacks do.
    """
    if norm not in ({"linf", "l2"} if attack in ("pgd", "fab") else {"l2"}):
        raise InputError(f"attack={attack!r} does not support norm {norm!r}: expected attack='pgd' or 'fab'")
    inputs.check_counts(tries=tries)
    network, keys = as_partial(logits_fn), example_keys(key, len(labels))
    _, classes = clean_predictions(network, images, labels, len(images))
    smallest = np.where(classes == labels, np.inf, 0.0)

    def lost(radius):
        points = attacked(network, images, labels, keys, radius=radius, name=attack, norm=norm, steps=steps)
        is_fooled = are_fooled(predictions(network, points), labels)
        delta = (np.asarray(points, np.float64) - np.asarray(images, np.float64)).reshape(len(images), -1)
        sizes = np.abs(delta).max(1) if norm == "linf" else np.sqrt(np.square(delta).sum(1))
        smallest[:] = np.where(is_fooled, np.minimum(smallest, sizes), smallest)
        return np.where(is_fooled, np.inf, 0.0)[None]

    limit = box_diameter(norm, images.shape[1:])
    if attack == "pgd":
        start = FIRST_RADIUS[norm]
        largest_radii(lost, 1, smallest > 0, start=start, limit=limit, steps=tries, accuracy=0.01, pause=pause)
    else:
        lost(np.full(len(images), limit, np.float32))
        pause()
    return smallest


def check_not_refuted(certified: Float[np.ndarray, " examples"], attacked: Float[np.ndarray, " examples"]) -> None:
    """Raises: RefutedError if an example is certified beyond the size of the perturbation that an attack found for it."""
    refuted = np.flatnonzero(certified > attacked)
    if len(refuted):
        i = refuted[0]
        raise RefutedError(
            f"{len(refuted)} of {len(certified)} certificates are refuted: example {i} is certified up to {certified[i]:.6g}, "
            f"but an attack fooled the network at {attacked[i]:.6g}; trust no radius of this run, and please "
            "report it with its folder"
        )


@functools.partial(jax.jit, static_argnames=("name", "norm", "steps"))
def attacked(
    logits_fn: Partial,
    images: Float[Array, "batch *image"],
    labels: Int[Array, " batch"],
    keys: Key[Array, " batch"],
    *,
    radius: ArrayLike,
    name: str,
    norm: str,
    steps: int,
) -> Float[Array | np.ndarray, "batch *image"]:
    """x_adv of the attack `name` (pgd: on the margin), compiled."""
    attack = functools.partial(attacks.pgd, loss="margin") if name == "pgd" else attacks.attack(name)
    return attack(logits_fn, images, labels, keys, radius=radius, norm=norm, steps=steps).x_adv
