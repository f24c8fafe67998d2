"""How far a network is certified around each example, and how far it is not: a radius from below, an attack from above."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import Array
from jax.tree_util import Partial

from dsrna_jax import attacks, bounds
from dsrna_jax.attacks.series import predictions
from dsrna_jax.errors import InputError, RefutedError

MINIMUM = "minimum"  # over all wrong classes: nothing of this size changes the class
TARGETS = (MINIMUM, "random", "least_likely", "runner_up")  # the last three as in CNN-Cert (Boopathy et al. 2019)
START = {"linf": 0.05, "l2": 0.5}  # where searches begin


@functools.partial(jax.jit, static_argnames=("norm", "method", "clip", "chunk"))
def margins_of(logits_fn: Partial, x: Array, y: Array, radius: Array, *, norm: str, method: str, clip: bool, chunk: int) -> Array:
    """`bounds.class_margins`: [batch, classes - 1]. `clip`: whether pixels stay in [0, 1]."""
    box = (0.0, 1.0) if clip else None
    return bounds.class_margins(logits_fn, x, y, radius=radius, norm=norm, method=method, clip=box, chunk=chunk)


@functools.partial(jax.jit, static_argnames=("name", "norm", "steps"))
def attacked(logits_fn: Partial, x: Array, y: Array, keys: Array, radius: Array, *, name: str, norm: str, steps: int) -> Array:
    """The points that an attack of `dsrna_jax.attacks` ends with: [batch, ...]."""
    options: dict[str, Any] = {"steps": steps, "norm": norm, "radius": radius}
    if name == "pgd":
        options["loss"] = "margin"
    return attacks.attack(name)(logits_fn, x, y, keys, **options).x_adv


def largest(norm: str, image_shape: tuple[int, ...]) -> float:
    """The distance of two opposite corners of the box of images: no search goes beyond."""
    return 1.0 if norm == "linf" else float(np.sqrt(np.prod(image_shape)))


def rivals(logits: np.ndarray, labels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Which of the other classes, in ascending order, each of `TARGETS` is about: bool [target, batch, classes - 1].

    Args:
      logits: [batch, classes]. draws: [batch] in [0, 1), from which the random target comes.
    """
    batch, classes = logits.shape
    others = np.arange(classes - 1) + (np.arange(classes - 1) >= labels[:, None])
    ranked = np.argsort(-np.take_along_axis(logits, others, 1), axis=1, kind="stable")
    chosen = np.stack([(draws * (classes - 1)).astype(int), ranked[:, -1], ranked[:, 0]])
    return np.concatenate([np.ones((1, batch, classes - 1), bool), chosen[..., None] == np.arange(classes - 1)])


def bisected(
    holds: Callable[[np.ndarray], np.ndarray], groups: int, right: np.ndarray, *, start: float, limit: float, steps: int,
    accuracy: float, pause: Callable[[], None] = lambda: None,
) -> np.ndarray:  # fmt: skip
    """The largest radius that was seen to hold, for each group and example: [group, batch]; 0 where none was.

    From `start` up or down by growing factors (2, 4, 16 ...) until one radius holds and one does not, then by halves of the
    logarithm, until these two differ by less than `accuracy`, or `steps` were spent on the group. What one group has tried, the
    next ones know. Nothing has to be monotone in the radius: what is returned was itself tried.

    Args:
      holds: maps radii float32 [batch] to bool [group, batch].
      right: [batch], the examples to search for. start, limit: the first and the largest radius that is tried.
      pause: is called between two tries.
    """
    low, high = np.zeros((groups, len(right))), np.full((groups, len(right)), np.inf)
    tried, held = [], []
    for group in range(groups):
        factor = np.full(len(right), 2.0)
        for _ in range(steps):
            below, above = low[group], high[group]
            has_low, has_high = below > 0, np.isfinite(above)
            is_settled = ~right | (below >= limit) | has_high & (above <= below * (1 + accuracy))
            if is_settled.all():
                break
            above = np.where(has_high, above, 1)
            ahead, between = [has_low & has_high, has_low, has_high], [np.sqrt(below * above), below * factor, above / factor]
            factor = np.where(has_low ^ has_high, np.minimum(factor**2, 2.0**16), factor)
            radius = np.float32(np.where(is_settled, start, np.minimum(np.select(ahead, between, start), limit)))
            tried.append(radius.astype(float))
            held.append(holds(radius) & right)
            radii, held_so_far = np.stack(tried)[:, None], np.stack(held)
            low = np.where(held_so_far, radii, 0).max(0)
            high = np.where(~held_so_far & (radii > low), radii, np.inf).min(0)
            pause()
    return low


def certified_radii(
    logits_fn: Partial, x: Array, labels: np.ndarray, draws: np.ndarray, *, norm: str, method: str, clip: bool, chunk: int,
    steps: int, accuracy: float = 0.01, pause: Callable[[], None] = lambda: None,
) -> np.ndarray:  # fmt: skip
    """Certified radii against each of `TARGETS`, in that order: [target, batch]; 0 where the class is wrong already.

    Args:
      x: images [batch, ...] in [0, 1]. draws: as in `rivals`. The rest as in `bounds.margin` and `bisected`.
    Raises: InputError if logits are not finite.
    """
    logits = np.asarray(jax.jit(lambda f, x: f(x))(logits_fn, x))
    if not np.isfinite(logits).all():
        raise InputError("logits are not finite: expected those of a network whose training went well")
    chosen, right = rivals(logits, labels, draws), logits.argmax(1) == labels

    def holds(radius):
        found = margins_of(logits_fn, x, labels, radius, norm=norm, method=method, clip=clip, chunk=chunk)
        return ((np.asarray(found) > 0) | ~chosen).all(-1)

    search = {"start": START[norm], "limit": largest(norm, x.shape[1:]), "steps": steps, "accuracy": accuracy}
    return bisected(holds, len(TARGETS), right, **search, pause=pause)


def attack_radii(
    logits_fn: Partial, x: Array, labels: np.ndarray, keys: Array, *, name: str, norm: str, steps: int, tries: int = 10,
    pause: Callable[[], None] = lambda: None,
) -> np.ndarray:  # fmt: skip
    """The size of the smallest perturbation found that changes the class: [batch]; 0 where it is wrong, inf if none was found.

    Each is that of a point that a forward pass by itself misclassifies. The radius of `pgd` is bisected in `tries` runs; attacks
    that look for the nearest point (`fab`, and for l2 `ddn` and `cw`) run once.
    """
    if norm not in ({"linf", "l2"} if name in ("pgd", "fab") else {"l2"}):
        raise InputError(f"attack={name!r} knows no norm {norm!r}: expected attack='pgd' or 'fab'")
    found = np.where(np.asarray(predictions(logits_fn, x)) == labels, np.inf, 0.0)

    def stands(radius):
        points = attacked(logits_fn, x, labels, keys, radius, name=name, norm=norm, steps=steps)
        is_fooled = np.asarray(predictions(logits_fn, points)) != labels
        delta = (np.asarray(points, np.float64) - np.asarray(x, np.float64)).reshape(len(x), -1)
        sizes = np.abs(delta).max(1) if norm == "linf" else np.sqrt(np.square(delta).sum(1))
        found[:] = np.where(is_fooled, np.minimum(found, sizes), found)
        return ~is_fooled[None]

    limit = largest(norm, x.shape[1:])
    if name == "pgd":
        bisected(stands, 1, found > 0, start=START[norm], limit=limit, steps=tries, accuracy=0.01, pause=pause)
    else:
        stands(np.full(len(x), limit, np.float32))
        pause()
    return found


def check_not_refuted(certified: np.ndarray, found: np.ndarray) -> None:
    """Raises: RefutedError if an example is certified beyond the perturbation [examples] that was found for it."""
    wrong = np.flatnonzero(certified > found)
    if len(wrong):
        i = wrong[0]
        raise RefutedError(
            f"{len(wrong)} of {len(certified)} certificates are refuted: example {i} is certified up to {certified[i]:.6g}, but "
            f"an attack fooled the network at {found[i]:.6g}; trust no radius of this run, and please report it with its folder"
        )
