"""AutoAttack (Croce and Hein 2020, arXiv:2003.01690): a series of attacks, of which the worst counts for each example."""

import functools

import numpy as np
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Float, Int, PRNGKeyArray

from dsrna_jax.attacks.apgd import apgd
from dsrna_jax.attacks.ball import check_norm
from dsrna_jax.attacks.fab import fab
from dsrna_jax.attacks.keys import required
from dsrna_jax.attacks.result import AttackResult, LogitsFn
from dsrna_jax.attacks.series import Stage, as_partial, predicted, run_series, with_fixed_key
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
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "examples *image"],
    labels: Int[ArrayLike, " examples"],
    key: PRNGKeyArray | None = None,
    *,
    radius: float,
    norm: str = "linf",
    version: str = "standard",
    steps: int = 100,
    queries: int = 5000,
    targets: int = 9,
    batch_size: int = 128,
) -> AttackResult:
    """The worst case over the members of a version of AutoAttack; arguments as in `dsrna_jax.attacks`.

    A loop on the host, which cannot be jitted: images may be a whole data set, attacked in batches of `batch_size`. Every image
    that is misclassified as it is counts as a success at distance 0 and is not attacked.

    Args:
      version: "standard", "plus", or "rand" for stochastic networks (then the call is `logits_fn(images, key)`).
      steps, queries, targets: the budget of the members, by default AutoAttack's own.
    Returns: NumPy arrays; `loss` is that of the member that succeeded, or of the last.
    """
    check_norm(norm)
    key = required(key)
    images, labels = np.asarray(images), np.asarray(labels)
    batch_size = max(1, min(batch_size, len(images)))
    network = as_partial(logits_fn)
    judge = Partial(with_fixed_key, network, key) if version == "rand" else network
    robust = predicted(judge, images, batch_size) == labels
    whole = AttackResult(images.copy(), ~robust, *(np.zeros(len(images), t) for t in (images.dtype, images.dtype, np.int32)))
    batches = run_series(
        network, images, labels, key, stages=stages(version, steps=steps, queries=queries, targets=targets), radius=radius,
        norm=norm, batch_size=batch_size, robust=robust, judge=judge,
    )  # fmt: skip
    for batch in batches:
        part = batch.result._replace(steps=batch.result.steps + whole.steps[batch.indices])
        for array, values in zip(whole, part, strict=True):
            array[batch.indices] = values
    return whole
