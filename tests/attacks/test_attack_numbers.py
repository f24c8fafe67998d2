"""Attacks of every precision, with masked classes, NaN and few classes, and AutoAttack inside of jit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from linear_attacks import BATCH, BUDGETS, CLASSES, KEY, NETWORK, NORM, W, X, Y, attacked, linear, names

from dsrna_jax import attacks
from dsrna_jax.attacks.autoattack import stages
from dsrna_jax.attacks.losses import dlr_or_margin
from dsrna_jax.attacks.result import is_fooled
from dsrna_jax.evaluation.attack import budgets
from dsrna_jax.evaluation.attack.sanity import forward_checks
from dsrna_jax.losses import margin

# ---- masked classes, and NaN

MASKS = {
    "two classes": np.float32([0, 0, -np.inf, -np.inf, -np.inf]),
    "by numbers": np.float32([0, 0, -1e30, -1e30, -1e30]),
    "three classes": np.float32([0, 0, -np.inf, 0, -np.inf]),
}


def masked(weights, mask, x):
    return linear(weights, x) + mask[None]


def distances(mask, norm):
    """The labels, and the exact distance of each image to the boundary of the masked network, far from the walls of the box."""
    z = np.asarray(masked(W, mask, X), np.float64)
    own = z.argmax(1)
    slopes = W.T[None] - W.T[own][:, None]
    sizes = np.abs(slopes).sum(2) if norm == "linf" else np.linalg.norm(slopes, axis=2)
    gaps = z.max(1, keepdims=True) - z
    return own, np.where(np.arange(CLASSES) == own[:, None], np.inf, gaps / np.maximum(sizes, 1e-9)).min(1)


@names
def test_classes_masked_by_minus_infinity_are_attacked_as_if_they_were_not_there(name):
    def run(mask, labels, radius):
        return attacked(name, Partial(masked, jnp.asarray(W), jnp.asarray(mask)), X, labels, KEY, radius, **options)

    options = {"ddn": {"steps": 40}, "square": {"steps": 200}}.get(name, {})
    run = run if name == "autoattack" else jax.jit(run)
    for mask in MASKS.values():
        own, distance = distances(mask, NORM[name])
        below, above = 0.9 * distance, np.minimum(10 * distance, {"linf": 0.5, "l2": 2.0}[NORM[name]])
        if name == "autoattack":
            below, above = below.min(), above.max()
        for radius, falls in ((below, False), (above, True)):
            result = run(mask, own, radius)
            assert np.isfinite(result.x_adv).all() and np.isfinite(result.distance).all()
            assert (np.asarray(result.success) == falls).all(), (radius, result.success)


@names
def test_attacks_do_not_depend_on_the_scale_of_logits(name):
    """Margins from 1e-6 to 1e5: the softmax of the label is 1 in float32 from 17 on, and its derivative 0."""

    def run(scale, radius):
        network = Partial(masked, scale * jnp.asarray(W), jnp.zeros(CLASSES))
        return attacked(name, network, X, own, KEY, radius, **options)

    own, distance = distances(np.zeros(CLASSES, np.float32), NORM[name])
    options = {"ddn": {"steps": 40}, "square": {"steps": 200}}.get(name, {})
    run = run if name == "autoattack" else jax.jit(run)
    radius = np.minimum(10 * distance, {"linf": 0.5, "l2": 2.0}[NORM[name]])
    for scale in (30.0, 300.0, 1e5) if name == "cw" else (1e-6, 30.0, 300.0, 1e5):  # the first constant of cw is not relative
        result = run(scale, radius.max() if name == "autoattack" else radius)
        assert np.asarray(result.success).all(), (scale, result.success)


@names
def test_the_gradient_of_a_step_is_computed_once_whatever_reads_it(name):
    program = str(jax.make_jaxpr(lambda images: attacked(name, images=images))(X))
    assert (" apart " in program) == (name != "square")  # which takes none


def broken(x):
    """NaN at every point that is not the image itself."""
    return jnp.where((x == jnp.asarray(X)).all((1, 2, 3))[:, None], linear(W, x), jnp.nan)


@names
def test_no_point_whose_logits_are_nan_counts_and_no_image_is_nan(name):
    few = {"autoattack": {"steps": 2, "queries": 2, "targets": 1}}.get(name, {})
    result = jax.jit(lambda images: attacked(name, broken, images, radius=0.5, **few))(X)
    assert not result.success.any() and np.isfinite(result.x_adv).all() and not np.isnan(result.loss).any()


@pytest.mark.parametrize("name", sorted(set(BUDGETS) - {"autoattack", "square"}))
def test_where_the_gradient_of_a_pixel_is_nan_the_others_are_attacked_and_no_image_is_nan(name):
    """The root under `where` is never taken, and its derivative is NaN; a pixel of NaN would not be noticed."""

    def network(x):
        pixel = x[:, 0, 0, 0]
        return linear(W, jnp.nan_to_num(x)) + jnp.where(pixel > 2, jnp.sqrt(pixel - 2), 0)[:, None]

    few = {"ddn": {"steps": 40}, "cw": {"steps": 20}}.get(name, {})
    result = jax.jit(lambda images: attacked(name, network, images, radius=2.0 if NORM[name] == "l2" else 0.5, **few))(X)
    assert np.isfinite(result.x_adv).all() and np.isfinite(result.distance).all()
    np.testing.assert_array_equal(result.success, np.asarray(jax.jit(network)(result.x_adv)).argmax(1) != Y)
    assert result.success.all() or name.startswith("fab")  # it needs the whole gradient for its plane


def test_inside_of_jit_a_network_that_is_nan_everywhere_falls_nowhere():
    result = jax.jit(lambda images: attacked("pgd", lambda x: linear(W * np.nan, x), images, radius=0.5))(X)
    assert not result.success.any() and np.isfinite(result.x_adv).all() and (result.loss == -np.inf).all()


def test_sanity_checks_pass_a_masked_class_and_warn_of_nan():
    for mask in MASKS.values():
        checks = {check.name: check.status for check in forward_checks(Partial(masked, W, mask), X, radius=0.1)}
        assert checks["batch neighbours"] == checks["logits"] == "PASS"
    checks = {check.name: check for check in forward_checks(Partial(lambda x: NETWORK(x) * np.nan), X, radius=0.1)}
    assert checks["logits"].status == "WARN" and checks["logits"].value is None


# ---- precision

DTYPES = {
    "float16 images": (jnp.float16, jnp.float32, False),
    "bfloat16 images and logits": (jnp.bfloat16, jnp.bfloat16, False),
    "float16 logits": (jnp.float32, jnp.float16, False),
    "float64": (jnp.float64, jnp.float64, True),
    "float64 logits": (jnp.float32, jnp.float64, True),
    "float32 under x64": (jnp.float32, jnp.float32, True),
}
FAST = {"float16 images", "float64 logits"}  # where points are rounded
ALONE = set(BUDGETS) - {"multi_targeted", "apgd_t", "fab_t", "autoattack"}  # run no other attack


@pytest.mark.parametrize(
    ("name", "dtypes"),
    [
        pytest.param(name, dtypes, marks=() if dtypes in FAST and name in ALONE else pytest.mark.slow)
        for name in BUDGETS
        for dtypes in DTYPES
    ],
)
def test_every_attack_takes_every_precision_and_stays_in_the_ball(name, dtypes):
    taken, given, is_wide = DTYPES[dtypes]
    with jax.enable_x64(is_wide):
        images = X.astype(taken)

        def network(x):
            assert x.dtype == taken
            return linear(jnp.asarray(W, given), x.astype(given))

        def run(images, labels):
            return attacked(name, network, images, labels, radius=0.2, **({"steps": 40} if name == "ddn" else {}))

        classes = jax.jit(lambda x: network(x).argmax(1))
        labels = np.asarray(classes(images))
        is_eager = name in ("fgsm", "autoattack")  # out of jit, where numbers are checked too
        result = (run if is_eager else jax.jit(run))(images, labels)
        assert result.x_adv.dtype == taken and np.asarray(result.distance).dtype.itemsize >= 4
        points, centre = (np.asarray(array, np.float64) for array in (result.x_adv, images))
        delta = (points - centre).reshape(BATCH, -1)
        size = np.abs(delta).max(1) if NORM[name] == "linf" else np.linalg.norm(delta, axis=1)
        assert (size <= 0.2 * (1 + (1e-14 if points.dtype == taken else 1e-6))).all() and points.min() >= 0 and points.max() <= 1
        np.testing.assert_allclose(result.distance, size, atol=1e-6)
        np.testing.assert_array_equal(result.success, np.asarray(classes(result.x_adv)) != labels)
        assert result.success.any()


# ---- AutoAttack of few classes, and inside of jit


@pytest.mark.parametrize(
    ("classes", "version"),
    [(2, "standard"), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((3, "standard"), (2, "plus"), (3, "plus")))],
)
def test_autoattack_runs_all_members_for_few_classes(classes, version):
    network = Partial(linear, W[:, :classes])
    labels = np.asarray(network(X)).argmax(1)
    withstood = attacked("autoattack", network, labels=labels, radius=1e-4, version=version)
    assert not withstood.success.any() and (withstood.steps > 4 * classes + 10).all()
    assert attacked("autoattack", network, labels=labels, radius=0.5, version=version).success.all()


def test_the_command_and_the_library_have_one_rule_for_few_classes():
    for classes in (2, 3, 4, 10):
        row = budgets.series_row(0.1, "linf", classes)
        assert row.stages == stages("standard", classes=classes)
        assert f"APGD-T by {dlr_or_margin(classes, is_targeted=True)}" in row.budget
        assert (row.name == "AutoAttack") == (classes >= 4)


JITTED = jax.jit(attacks.autoattack, static_argnames=("norm", "version", "steps", "queries", "targets", "batch_size"))


def test_autoattack_is_the_same_inside_of_jit():
    options = {**BUDGETS["autoattack"], "batch_size": 4, "radius": 0.03}  # the second batch is padded
    labels = np.where(np.arange(BATCH) == 1, (Y + 1) % CLASSES, Y)  # one is misclassified as it is
    expected = attacks.autoattack(NETWORK, X, labels, KEY, **options)
    assert 0 < expected.success.sum() < BATCH
    for part, other in zip(JITTED(NETWORK, X, labels, KEY, **options), expected, strict=True):
        np.testing.assert_allclose(part, other, atol=1e-5)


@pytest.mark.slow
def test_autoattack_attacks_stochastic_networks_inside_of_jit():
    noisy = Partial(lambda w, x, key: linear(w, x) + 0.01 * jax.random.normal(key, (len(x), CLASSES)), jnp.asarray(W))
    assert JITTED(noisy, X, Y, KEY, radius=0.5, version="rand", **BUDGETS["autoattack"]).success.all()


@pytest.mark.parametrize("name", ["cw", "ddn", "fab"])
def test_an_image_that_is_misclassified_as_it_is_is_its_own_nearest_point(name):
    found = jax.jit(lambda labels: attacked(name, NETWORK, X, labels, KEY, 0.0))((Y + 1) % CLASSES)
    assert found.success.all() and not found.distance.any()


def test_logits_of_nan_fool_no_image_of_a_large_batch():
    """XLA's maximum over the classes passes over NaN in arrays of more than 4,096 entries."""
    logits = np.zeros((1000, 10), np.float32)
    logits[::2, 3] = np.nan
    logits[1::2, 3] = 1
    fooled = jax.jit(is_fooled)(logits, np.zeros(1000, int))
    np.testing.assert_array_equal(fooled, np.arange(1000) % 2 == 1)
    of_margin = jax.jit(margin)(logits, np.zeros(1000, int))
    np.testing.assert_array_equal(np.isnan(of_margin), np.arange(1000) % 2 == 0)
