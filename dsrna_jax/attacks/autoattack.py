"""AutoAttack (Croce and Hein 2020, arXiv:2003.01690): a series of attacks, of which the worst counts for each example."""

import functools

import numpy as np
from jax import Array
from jax.tree_util import Partial

from dsrna_jax.attacks.apgd import apgd
from dsrna_jax.attacks.ball import check_norm
from dsrna_jax.attacks.fab import fab
from dsrna_jax.attacks.result import AttackResult
from dsrna_jax.attacks.series import Stage, as_partial, drawn, predicted, run_series
from dsrna_jax.attacks.square import square
from dsrna_jax.errors import InputError

VERSIONS = ("standard", "plus", "rand")


def stages(version: str = "standard", *, steps: int = 100, queries: int = 5000, targets: int = 9) -> tuple[Stage, ...]:
    """The members of a version of AutoAttack, in its order. Only with these defaults may a result be called by its name."""
    if version not in VERSIONS:
        raise InputError(f"unknown version {version!r} of AutoAttack: expected one of {', '.join(VERSIONS)}")
    budget = (("steps", steps),)
    ce, dlr = (functools.partial(Stage, f"apgd-{loss}", apgd, (*budget, ("loss", loss))) for loss in ("ce", "dlr"))
    towards = {"runs": targets, "is_targeted": True}
    apgd_t = Stage("apgd-t", apgd, (*budget, ("loss", "dlr")), **towards)
    fab_t = Stage("fab-t", fab, budget, **towards)
    random_search = Stage("square", square, numbers=(("steps", queries),))
    if version == "standard":
        return ce(), apgd_t, fab_t, random_search
    if version == "plus":
        return ce(runs=5), dlr(runs=5), Stage("fab", fab, (*budget, ("restarts", 5))), random_search, apgd_t, fab_t
    return tuple(stage(runs=1)._replace(options=(*stage().options, ("draws", 20))) for stage in (ce, dlr))


def autoattack(
    logits_fn,
    x: Array,
    y: Array,
    key: Array,
    *,
    radius: float,
    norm: str = "linf",
    version: str = "standard",
    batch_size: int = 128,
    **budget: int,
) -> AttackResult:
    """The worst case over the members of a version of AutoAttack; arguments as in `dsrna_jax.attacks`.

    A loop on the host, not a function to be jitted: x may be a whole data set, of which batches of `batch_size` are attacked.
    Every example that is misclassified at x is a success at distance 0 and costs nothing.

    Args:
      version: "standard", "plus", or "rand" for networks that draw at random (then the call is `logits_fn(x, key)`).
      budget: `steps`, `queries` and `targets` of the members, if other than AutoAttack's own.
    Returns: as every attack; `loss` is that of the member that succeeded, or of the last.
    """
    check_norm(norm)
    x, y = np.asarray(x), np.asarray(y)
    is_random = version == "rand"
    network = as_partial(logits_fn)
    robust = predicted(Partial(drawn, network, key) if is_random else network, x, batch_size) == y
    found = AttackResult(x.copy(), ~robust, *(np.zeros(len(x), kind) for kind in (x.dtype, x.dtype, np.int32)))
    settings = {"radius": radius, "norm": norm, "batch_size": batch_size, "robust": robust, "is_random": is_random}
    for batch in run_series(network, stages(version, **budget), x, y, key, **settings):
        for whole, part in zip(found, batch.result._replace(steps=batch.result.steps + found.steps[batch.indices]), strict=True):
            whole[batch.indices] = part
    return found
