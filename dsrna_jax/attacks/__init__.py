"""Attacks: pure functions of one shape, for evaluation and for the inside of a training step.

    attack(logits_fn, images, labels, key=None, *, radius, norm, ...) -> AttackResult(x_adv, success, distance, loss, steps)

logits_fn: maps images [batch, ...] in [0, 1] to logits [batch, class], each image by itself, so batch statistics must be
  frozen; normalisation is inside. Arrays that it closes over, such as weights, may be traced.
  Classes masked by -inf never win. Attacks compute in the widest of float32, the images' dtype and the logits'.
images: [batch, ...], floating point in [0, 1], one or more; the network gets points of their dtype.
labels: [batch], integers 0 .. classes - 1, of 2 classes or more. Every attack goes away from the label, or towards `target`.
key: a random key, from which example i draws by `fold_in(key, i)`; or keys [batch], such as `example_keys(key, numbers)` gives
  for examples that have numbers of their own: then neither order nor batch size matters. Attacks that draw nothing ignore it.
radius: size of the perturbation in units of pixels, one or [batch], at least 0, in linf at most 1, traced. For attacks that look
  for the smallest perturbation (cw, ddn, fab) it is the size up to which one counts as a success, by default infinite.
norm: "linf" or "l2"; "linf" by default, except in cw and ddn, which have l2 alone.
steps and the rest of a budget: by default as each attack was published.

No result leaves the box, or the ball by more than the rounding of pixels, or is NaN, and no point counts as a success whose
logits are NaN. Arguments are checked, and their values if not traced (`attacks.inputs`); an `InputError` says in one line what
was expected.

All can be jitted, with radius, arrays and keys traced and all else static; outside of `jax.jit` they run too, and compile their
loop in each call:

    attack = jax.jit(functools.partial(attacks.pgd, logits_fn, norm="linf", steps=100))
    attack(images, labels, key, radius=8 / 255)
"""

from collections.abc import Callable

from dsrna_jax.attacks.apgd import apgd, apgd_t
from dsrna_jax.attacks.autoattack import autoattack
from dsrna_jax.attacks.cw import CW_PRESETS, cw
from dsrna_jax.attacks.ddn import ddn
from dsrna_jax.attacks.fab import fab, fab_t
from dsrna_jax.attacks.fgsm import fgsm
from dsrna_jax.attacks.keys import example_keys
from dsrna_jax.attacks.pgd import multi_targeted, pgd
from dsrna_jax.attacks.result import AttackResult
from dsrna_jax.attacks.square import square
from dsrna_jax.errors import InputError

ATTACKS = {
    "fgsm": fgsm,
    "pgd": pgd,
    "multi_targeted": multi_targeted,
    "apgd": apgd,
    "apgd_t": apgd_t,
    "cw": cw,
    "ddn": ddn,
    "fab": fab,
    "fab_t": fab_t,
    "square": square,
    "autoattack": autoattack,
}

__all__ = [
    "ATTACKS",
    "CW_PRESETS",
    "AttackResult",
    "apgd",
    "apgd_t",
    "attack",
    "autoattack",
    "cw",
    "ddn",
    "example_keys",
    "fab",
    "fab_t",
    "fgsm",
    "multi_targeted",
    "pgd",
    "square",
]


def attack(name: str) -> Callable[..., AttackResult]:
    """The attack of that name. Raises: InputError, which lists the names, if there is none."""
    if name not in ATTACKS:
        raise InputError(f"unknown attack {name!r}: expected one of {', '.join(ATTACKS)}")
    return ATTACKS[name]
