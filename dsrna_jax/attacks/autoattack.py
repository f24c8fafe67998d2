"""AutoAttack (Croce and Hein 2020, arXiv:2003.01690): a series of attacks, of which the worst counts for each example."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial
from jax.typing import ArrayLike
from jaxtyping import Float, Int, PRNGKeyArray

from dsrna_jax import inputs
from dsrna_jax.attacks.apgd import apgd
from dsrna_jax.attacks.ball import check_norm, pick
from dsrna_jax.attacks.fab import fab
from dsrna_jax.attacks.inputs import widest
from dsrna_jax.attacks.keys import example_keys
from dsrna_jax.attacks.losses import dlr_or_margin
from dsrna_jax.attacks.predictions import as_partial, clean_predictions, precise_logits, with_fixed_key
from dsrna_jax.attacks.result import AttackResult, LogitsFn, is_fooled
from dsrna_jax.attacks.series import AttackStage, run_count, run_series, stage_key, uncompiled_stage_result
from dsrna_jax.attacks.square import square
from dsrna_jax.errors import InputError

VERSIONS = ("standard", "plus", "rand")


def stages(
    version: str = "standard", *, classes: int = 10, steps: int = 100, queries: int = 5000, targets: int = 9
) -> tuple[AttackStage, ...]:
    """The members of a version of AutoAttack, in its order. Results of other budgets than the defaults are not AutoAttack's.

    All members run for any number of classes. The dlr is defined for 3 classes or more, the targeted one for 4: with fewer, the
    margin takes its place, which lacks only its scale. A targeted member has at most `classes` - 1 targets.

    Raises: InputError for an unknown version.
    """
    if version not in VERSIONS:
        raise InputError(f"unknown version {version!r} of AutoAttack: expected one of {', '.join(VERSIONS)}")
    budget = (("steps", steps),)
    apgd_ce = AttackStage("apgd-ce", apgd, (*budget, ("loss", "ce")))
    apgd_dlr = AttackStage("apgd-dlr", apgd, (*budget, ("loss", dlr_or_margin(classes, is_targeted=False))))
    towards = {"runs": targets, "is_targeted": True}
    apgd_t = AttackStage("apgd-t", apgd, (*budget, ("loss", dlr_or_margin(classes, is_targeted=True))), **towards)
    fab_t = AttackStage("fab-t", fab, budget, **towards)
    random_search = AttackStage("square", square, numbers=(("steps", queries),))
    if version == "standard":
        return apgd_ce, apgd_t, fab_t, random_search
    if version == "plus":
        by_fab = AttackStage("fab", fab, (*budget, ("restarts", 5)))
        return apgd_ce._replace(runs=5), apgd_dlr._replace(runs=5), by_fab, random_search, apgd_t, fab_t
    return tuple(stage._replace(options=(*stage.options, ("draws", 20))) for stage in (apgd_ce, apgd_dlr))


def autoattack(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "examples *image"],
    labels: Int[ArrayLike, " examples"],
    key: PRNGKeyArray | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    version: str = "standard",
    steps: int = 100,
    queries: int = 5000,
    targets: int = 9,
    batch_size: int = 128,
) -> AttackResult:
    """The worst case over the members of a version of AutoAttack; arguments as in `dsrna_jax.attacks`.

    Radius and key are one each, for all examples: example i draws by its number in `images`, whatever batch it is attacked in.

    A loop on the host: images may be a whole data set, attacked in batches of `batch_size`, and only examples that are still
    robust go on to the next member. Inside of `jax.jit` it is one program, in which a whole batch goes on while one of its
    examples is robust; it draws the same, and its results are the same up to rounding. A clean image that is misclassified
    counts as a success at distance 0 and is not attacked.

    With 2 or 3 classes all members run, with the margin in place of the dlr where that is undefined (`autoattack.stages`).

    Args:
      version: "standard", "plus", or "rand" for stochastic networks (then the call is `logits_fn(images, key)`).
      steps, queries, targets: the budget of the members, by default AutoAttack's own.
    Returns: NumPy arrays (JAX arrays inside of `jax.jit`); `loss` is that of the member that succeeded, or of the last.
    Raises: InputError, as all attacks; outside of `jax.jit` also if the logits of an image are NaN or infinite.
    """
    check_norm(norm)
    inputs.check_counts(batch_size=batch_size, targets=targets, steps=steps)
    inputs.check_counts(0, queries=queries)
    key, network = inputs.checked_key(key, is_single=True), as_partial(logits_fn)
    judge = Partial(with_fixed_key, network, key) if version == "rand" else network
    members = functools.partial(stages, version, steps=steps, queries=queries, targets=targets)
    members()
    if inputs.is_staged() or not inputs.is_known(images, labels, key, radius, *jax.tree.leaves(network)):
        return _in_one_program(network, judge, images, labels, key, members, radius, norm, batch_size)
    images, labels = np.asarray(images), np.asarray(labels)
    inputs.check_images(images)
    inputs.check_radius(radius, None, is_finite=True, norm=norm)
    batch_size = min(batch_size, len(images))
    classes, predictions = clean_predictions(judge, images, labels, batch_size)
    robust = predictions == labels
    numbers = np.float64 if images.dtype == np.float64 else np.float32
    whole = AttackResult(images.copy(), ~robust, *(np.zeros(len(images), t) for t in (numbers, numbers, np.int32)))
    batches = run_series(
        network, images, labels, key, stages=members(classes=classes), radius=float(np.asarray(radius)),
        norm=norm, batch_size=batch_size, robust=robust, judge=judge,
    )  # fmt: skip
    for batch in batches:
        part = batch.result._replace(steps=batch.result.steps + whole.steps[batch.indices])
        for array, values in zip(whole, part, strict=True):
            array[batch.indices] = values
    return whole


def _in_one_program(network, judge, images, labels, key, members, radius, norm, batch_size) -> AttackResult:
    """`autoattack` where anything is traced: batch by batch, each through all members until none of its examples is robust."""
    images = jnp.asarray(images)
    inputs.check_images(images)
    inputs.check_radius(radius, None, is_finite=True, norm=norm)
    logits = jax.eval_shape(judge, images)
    classes = inputs.class_count(logits, len(images))
    inputs.check_labels(labels, len(images), classes)
    labels = jnp.asarray(labels)
    dtype, size = widest(images, logits), min(batch_size, len(images))

    def attacked(indices: Array) -> AttackResult:
        points, classes_of = images[indices], labels[indices]
        nothing, none = jnp.zeros(size, dtype), jnp.zeros(size, jnp.int32)
        whole = AttackResult(points, is_fooled(precise_logits(judge, points), classes_of), nothing, nothing, none)
        for stage in members(classes=classes):
            keys = example_keys(stage_key(key, stage), indices)

            def attack_once(run, before, stage=stage, keys=keys):
                after = uncompiled_stage_result(network, points, classes_of, keys, run, radius=radius, stage=stage, norm=norm)
                after = after._replace(
                    success=is_fooled(precise_logits(judge, after.x_adv), classes_of), steps=before.steps + after.steps
                )
                return jax.tree.map(functools.partial(pick, before.success), before, after)

            def attack(run, before, attack_once=attack_once):
                return lax.cond(before.success.all(), lambda _, result: result, attack_once, run, before)

            whole = lax.fori_loop(0, run_count(stage, classes), attack, whole)
        return whole

    numbers = np.resize(np.arange(len(images)), (-(-len(images) // size), size))  # the last batch is padded by the first examples
    results = lax.map(attacked, jnp.asarray(numbers))
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(images)], results)
