"""Attacks: ball and box, projections, monotonicity, independence of the batch, one compilation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_network import IMAGES

from dsrna_jax import attacks
from dsrna_jax.attacks import ball, losses
from dsrna_jax.attacks.fab import to_plane
from dsrna_jax.errors import InputError

KEY = jax.random.key(0)
RADIUS = {"linf": 0.05, "l2": 0.3}
rng = np.random.default_rng(0)
FIRST, SECOND = (rng.normal(size=shape).astype(np.float32) for shape in ((64, 32), (32, 10)))


def logits_fn(images):
    """A network that compiles fast; the labels are what it says of digits."""
    return jax.nn.relu(images.reshape(len(images), -1) @ jnp.asarray(FIRST, images.dtype)) @ jnp.asarray(SECOND, images.dtype)


images = IMAGES[:24]
labels = np.asarray(jax.jit(logits_fn)(images)).argmax(1)

# Name, norm, static options: small budgets, each compiled once.
CASES = [
    ("fgsm", "linf", {}),
    ("fgsm", "linf", {"random_start": True}),
    ("fgsm", "l2", {}),
    ("pgd", "linf", {"steps": 8}),
    ("pgd", "l2", {"steps": 8, "restarts": 3, "loss": "margin"}),
    ("pgd", "linf", {"steps": 4, "loss": "dlr", "keep": "last"}),
    ("multi_targeted", "linf", {"steps": 4, "targets": 3}),
    ("apgd", "linf", {"steps": 12}),
    ("apgd", "l2", {"steps": 12, "loss": "dlr", "restarts": 2}),
    ("apgd_t", "linf", {"steps": 6, "targets": 3}),
    ("cw", "l2", {"steps": 20, "searches": 4}),
    ("ddn", "l2", {"steps": 40}),
    ("fab", "linf", {"steps": 8}),
    ("fab", "l2", {"steps": 8, "restarts": 2}),
    ("fab_t", "l2", {"steps": 8, "targets": 3}),
    ("square", "linf", {"steps": 300}),
    ("square", "l2", {"steps": 300}),
]
names = [f"{name}-{norm}-{'-'.join(map(str, options.values()))}" for name, norm, options in CASES]


@functools.cache
def compiled(number):
    name, norm, options = CASES[number]
    return jax.jit(functools.partial(attacks.attack(name), logits_fn, norm=norm, **options))


@functools.cache
def result_of(number, scale=1.0):
    """The result of a case at `scale` times its usual radius."""
    return jax.device_get(compiled(number)(images, labels, KEY, radius=scale * RADIUS[CASES[number][1]]))


cases = pytest.mark.parametrize("number", range(len(CASES)), ids=names)


@cases
def test_results_lie_in_ball_and_box_and_report_their_own_distance_and_success(number):
    norm, (x_adv, success, distance, loss, steps) = CASES[number][1], result_of(number)
    assert x_adv.dtype == images.dtype and x_adv.shape == images.shape and np.isfinite(x_adv).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    delta = (x_adv - IMAGES[:24]).reshape(24, -1)
    size = np.abs(delta).max(1) if norm == "linf" else np.linalg.norm(delta, axis=1)
    np.testing.assert_allclose(distance, size, atol=1e-6)
    assert (size <= RADIUS[norm] * (1 + 1e-5) + 1e-6).all()
    np.testing.assert_array_equal(success, np.asarray(logits_fn(x_adv)).argmax(1) != labels)
    assert 0.2 < success.mean() and (steps > 0).all() and not np.isnan(loss).any()


@cases
def test_at_radius_zero_images_are_unchanged(number):
    none = result_of(number, 0.0)
    np.testing.assert_array_equal(none.x_adv, IMAGES[:24])
    assert not none.success.any()


@cases
def test_success_rate_grows_with_the_radius(number):
    rates = [result_of(number, scale).success.mean() for scale in (0.0, 0.5, 1.0, 2.0)]
    assert rates == sorted(rates)


@cases
def test_results_depend_on_neither_batch_nor_order(number):
    """Examples keep their keys, whoever their neighbours are. Sizes other than 24 are compiled again, so they are few."""
    norm, own = CASES[number][1], np.resize([5, 17, 2, 11, 3, 8, 20], 6 if number in (3, 8) else 24)
    keys = attacks.example_keys(KEY, own)
    alone = compiled(number)(images[own], labels[own], keys, radius=RADIUS[norm])
    whole = result_of(number)
    np.testing.assert_array_equal(alone.success, whole.success[own])
    np.testing.assert_array_equal(alone.steps, whole.steps[own])
    np.testing.assert_allclose(alone.x_adv, whole.x_adv[own], atol=2e-3)


@cases
def test_another_radius_compiles_nothing(number):
    result_of(number)
    before = compiled(number)._cache_size()
    result_of(number, 0.37)
    assert compiled(number)._cache_size() == before


@pytest.mark.parametrize(("option", "values"), [("steps", (2, 5, 20)), ("restarts", (1, 3, 8))])
def test_pgd_is_monotone_in_steps_and_restarts(option, values):
    base = {"steps": 3, "radius": 0.08, "norm": "linf"}
    run = jax.jit(functools.partial(attacks.pgd, logits_fn), static_argnames=("norm", "steps", "restarts"))
    fooled = [np.asarray(run(images, labels, KEY, **(base | {option: value})).success) for value in values]
    assert all((less <= more).all() for less, more in zip(fooled, fooled[1:], strict=False))
    assert fooled[0].sum() < fooled[-1].sum()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_step_to_a_plane_is_the_shortest_inside_the_box(norm):
    """Against the definition, by a fine bisection over the multiplier."""
    rng = np.random.default_rng(0)
    points, normal = rng.uniform(size=(200, 30)), rng.normal(size=(200, 30)) * (rng.uniform(size=(200, 30)) > 0.2)
    offset = (normal * points).sum(1) + rng.normal(size=200) * 5
    with jax.enable_x64(True):
        step = np.asarray(jax.jit(to_plane, static_argnums=3)(points, normal, offset, norm))
    sign = np.sign(offset - (normal * points).sum(1))[:, None]

    def moved(time):
        speed = np.sign(normal) if norm == "linf" else normal
        return np.clip(points + time[:, None] * sign * speed, 0, 1) - points

    low, high = np.zeros(200), np.full(200, 1e6)
    for _ in range(200):
        middle = (low + high) / 2
        is_short = (sign[:, 0] * ((normal * (points + moved(middle))).sum(1) - offset)) < 0
        low, high = np.where(is_short, middle, low), np.where(is_short, high, middle)
    np.testing.assert_allclose(step, moved(high), atol=1e-9)
    assert 0.05 < (high > 1e5).mean() < 0.95  # some planes miss the box


def test_random_starts_are_uniform_in_the_ball():
    @jax.jit
    def sizes(centre):
        keys = attacks.example_keys(KEY, len(centre))
        draws = (ball.uniform, ball.on_sphere)
        return {norm: [ball.size(draw(keys, centre, 0.2, norm) - centre, norm) for draw in draws] for norm in RADIUS}

    for inside, on in sizes(np.full((4000, 3, 1, 1), 0.5, np.float32)).values():
        np.testing.assert_allclose(np.quantile((np.asarray(inside) / 0.2) ** 3, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)
        np.testing.assert_allclose(on, 0.2, rtol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_projection_keeps_points_inside_and_moves_others_into_ball_and_box(norm):
    rng = np.random.default_rng(1)
    centre, points = (np.float32(rng.uniform(low, high, (50, 12))) for low, high in ((0, 1), (-0.5, 1.5)))

    @jax.jit
    def projected(points):
        cut = ball.project(points, centre, 0.2, norm)
        return cut, ball.size(cut - centre, norm)

    cut, size = map(np.asarray, projected(points))
    assert (size <= 0.2 + 1e-6).all() and cut.min() >= 0 and cut.max() <= 1
    np.testing.assert_allclose(projected(cut)[0], cut, atol=1e-6)


def test_dlr_is_invariant_to_shift_and_scale_and_has_the_sign_of_the_margin_loss():
    rng = np.random.default_rng(2)
    z, labels, target = rng.normal(size=(50, 6)), rng.integers(0, 6, 50), rng.integers(0, 6, 50)

    @jax.jit
    def results(z):
        dlrs = [loss(z, labels) for loss in (losses.dlr, losses.targeted("dlr", target))]
        ranked = [losses.runner_up(z, labels, rank) for rank in range(1, 6)]
        return dlrs, losses.margin_loss(z, labels), ranked, [losses.of_class(z, c) for c in ranked]

    with jax.enable_x64(True):
        dlrs, margin_loss, ranked, of_ranks = jax.device_get(results(z))
        np.testing.assert_allclose(dlrs, results(7 * z + 3)[0], rtol=1e-9)
    assert ((margin_loss > 0) == (z.argmax(1) != labels)).all()
    assert (np.diff(of_ranks, axis=0) <= 0).all() and all((c != labels).all() for c in ranked)


def test_cross_entropy_is_invariant_to_a_shift_by_which_the_logits_lose_no_digit():
    z, labels = np.array([[2.0, 1.0, -3.0], [0.0, 8.0, 9.0]], np.float32), np.array([0, 1])
    np.testing.assert_array_equal(losses.cross_entropy(z + 2**20, labels), losses.cross_entropy(z, labels))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 100.0, 1e4])
def test_cross_entropy_and_the_direction_of_its_derivative_are_those_of_float64(scale):
    rng = np.random.default_rng(0)
    z, labels = (scale * rng.normal(size=(200, 5))).astype(np.float32), rng.integers(5, size=200)
    value, pull = jax.vjp(lambda z: losses.cross_entropy(z, labels), z)
    (slope,) = map(np.asarray, pull(jnp.ones(200)))
    ahead = np.stack([np.delete(row - row[own], own) for row, own in zip(z.astype(float), labels, strict=True)])
    odds = np.logaddexp.reduce(ahead, 1)
    np.testing.assert_allclose(value, np.logaddexp(odds, 0), rtol=2e-5, atol=1e-37)
    shares = np.exp(ahead - odds[:, None])  # of the other classes; the label has -1
    expected = np.stack([np.insert(row, own, -1.0) for row, own in zip(shares, labels, strict=True)])
    size = np.exp(-np.logaddexp(-odds, 0))
    np.testing.assert_allclose(slope / -slope[np.arange(200), labels][:, None], expected, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(-slope[np.arange(200), labels], np.maximum(size, losses.LEAST_SLOPE), rtol=2e-3)


def test_steps_have_norm_1_however_small_or_large_a_gradient_is():
    direction = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 3, 1)), jnp.float32)
    for scale in (1e-36, 1e-20, 1e-12, 1.0, 1e15, 1e30):
        for norm in ("linf", "l2"):
            step = ball.unit(scale * direction, norm)
            np.testing.assert_allclose(ball.size(step, norm), 1, rtol=1e-6)
            np.testing.assert_allclose(step, ball.unit(direction, norm), rtol=1e-5)
    assert not ball.unit(0 * direction, "l2").any()


def test_keep_may_be_traced_and_the_last_point_succeeds_at_most_as_often():
    def run(keep):
        return attacks.pgd(logits_fn, images, labels, KEY, radius=0.05, norm="linf", steps=5, step_size=0.05, keep=keep)

    traced, static = jax.jit(run), jax.device_get({word: jax.jit(run, static_argnums=0)(word) for word in ("fooled", "last")})
    for word, is_last in (("fooled", False), ("last", True)):
        for ours, theirs in zip(traced(is_last), static[word], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not (static["last"].success & ~static["fooled"].success).any()


def test_in_a_training_step_weights_are_traced_and_keep_last_adds_no_forward_pass():
    def step(scale, keep):
        def scaled(images):
            return scale * logits_fn(images)

        result = attacks.pgd(scaled, images, labels, KEY, radius=0.1, norm="linf", steps=3, keep=keep)
        return losses.cross_entropy(scaled(jax.lax.stop_gradient(result.x_adv)), labels).mean()

    assert np.isfinite(jax.jit(jax.grad(step), static_argnames="keep")(1.0, "last"))
    seen = []

    def counted(images):
        jax.debug.callback(lambda: seen.append(1))
        return logits_fn(images)

    run = jax.jit(lambda images: attacks.pgd(counted, images, labels, KEY, radius=0.1, norm="linf", steps=3, keep="last").x_adv)
    run(images).block_until_ready()
    jax.effects_barrier()
    assert len(seen) <= 4  # a callback cannot be dropped as the forward pass behind it is


def test_targeted_attacks_reach_their_target():
    target = (labels + 1) % 10
    options = {"radius": 0.5, "norm": "linf", "steps": 40, "step_size": 0.03, "loss": "ce", "keep": "last"}
    result = jax.jit(lambda target: attacks.pgd(logits_fn, images, labels, KEY, target=target, **options))(target)
    assert (np.asarray(logits_fn(result.x_adv)).argmax(1) == target).mean() > 0.8


def test_a_loss_function_and_a_start_are_used_as_given():
    start = np.clip(images + np.float32(0.05), 0, 1)

    @jax.jit
    def attacked(start):
        options = {"steps": 0, "random_start": False, "x_init": start, "loss": losses.margin_loss}
        result = attacks.pgd(logits_fn, images, labels, radius=0.1, norm="linf", **options)
        return result, losses.margin_loss(logits_fn(start), labels)

    result, loss = attacked(start)
    np.testing.assert_allclose(result.x_adv, start, atol=1e-6)
    np.testing.assert_allclose(result.loss, loss, atol=1e-4)


def test_apgd_averages_gradients_of_stochastic_networks():
    def noisy(images, key):
        return logits_fn(images + 0.05 * jax.random.normal(key, images.shape))

    result = jax.jit(functools.partial(attacks.apgd, noisy, norm="linf", steps=10, draws=4))(images, labels, KEY, radius=0.1)
    assert result.success.mean() > 0.5 and (result.steps == 44).all()


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attacks.attack("fgms"), "unknown attack 'fgms': expected one of fgsm"),
        (lambda: attacks.pgd(logits_fn, images, labels, KEY, radius=0.1, norm="l1"), "norm 'l1': expected 'linf' or 'l2'"),
        (lambda: attacks.ddn(logits_fn, images, labels, norm="linf"), "norm 'linf': expected 'l2'"),
        (lambda: attacks.pgd(logits_fn, images, labels, KEY, radius=0.1, norm="l2", loss="CE"), "unknown loss 'CE'"),
        (lambda: attacks.pgd(logits_fn, images, labels, radius=0.1, norm="l2"), "expected a key"),
        (lambda: attacks.pgd(logits_fn, IMAGES.astype(int), labels, KEY, radius=0.1, norm="l2"), "floating point"),
        (lambda: attacks.pgd(logits_fn, images, labels[:3], KEY, radius=0.1), "labels must be integers, one for each of 24"),
        (lambda: attacks.pgd(logits_fn, images, labels, radius=1, random_start=False, restarts=2), "would all be the same"),
        (lambda: attacks.square(lambda images: -images, images[..., 0, 0], labels % 8, KEY, radius=0.1), "square needs images"),
        (lambda: attacks.apgd(lambda z: logits_fn(z)[:, :2], images, labels % 2, KEY, radius=1, loss="dlr"), "dlr loss needs 3"),
        (
            lambda: attacks.apgd_t(lambda z: logits_fn(z)[:, :3], images, labels % 3, KEY, radius=0.1, loss="dlr"),
            "targeted dlr loss needs 4",
        ),
        (lambda: attacks.autoattack(logits_fn, images, labels, KEY, radius=0.1, version="fast"), "unknown version 'fast'"),
    ],
)
def test_bad_input_says_what_was_expected(call, message):
    with pytest.raises(InputError, match=message):
        call()
