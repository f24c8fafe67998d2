"""Arguments of attacks: every attack refuses what it cannot read, in one line."""

import functools
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_attacks import BATCH, BUDGETS, CLASSES, KEY, NETWORK, W, X, Y, attacked, linear, names

from dsrna_jax import attacks, bounds
from dsrna_jax.attacks.predictions import clean_predictions
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify.attack_radii import attack_radii
from dsrna_jax.evaluation.certify.exact_radii import verified_radii
from dsrna_jax.evaluation.certify.radii import certified_radii
from dsrna_jax.evaluation.certify.smoothing import certificate, class_counts
from dsrna_jax.inputs import are_probabilities


def refused(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_attack_is_tried():
    assert set(BUDGETS) == set(attacks.ATTACKS)


BOUNDS = (bounds.margin, bounds.class_margins, bounds.certified_radius, bounds.class_certified_radii)

# ---- what is refused

NUMBERS = [
    (name, option)
    for name in BUDGETS
    for option, parameter in inspect.signature(attacks.attack(name)).parameters.items()
    if isinstance(parameter.default, float) and option != "radius"
]
COUNTS = [
    (name, option)
    for name in BUDGETS
    for option in inspect.signature(attacks.attack(name)).parameters
    if option in ("steps", "restarts", "targets", "searches", "draws", "queries", "batch_size")
]
BAD = {
    "in [0, 1], got values from -0.5 to 0.5": {"images": np.linspace(-0.5, 0.5, X.size, dtype=np.float32).reshape(X.shape)},
    "divide bytes by 255": {"images": np.uint8(255 * X)},
    "do not normalise": {"images": 255 * X},
    "jnp.clip": {"images": X * 0 + np.float32(1.000001)},
    "NaN in 1 of 6 images, first in image 2": {"images": np.where(np.arange(6)[:, None, None, None] == 2, np.nan, X)},
    "expected at least one": {"images": X[:0], "labels": Y[:0]},
    "but the network has 5 classes: expected 0 to 4: subtract 1": {"labels": np.array([1, 2, 3, 4, 5, 5])},
    "leave out images without a label": {"labels": np.where(np.arange(6) == 0, -1, Y)},
    "labels.argmax(1)": {"labels": np.eye(CLASSES)[Y]},
    "labels.astype(int)": {"labels": np.float32(Y)},
    "one for each of 6 images": {"labels": Y[:3]},
    "go from 4294967": {"labels": Y.astype(np.int64) + 2**32},  # the labels themselves in 32 bits
    "of 2 classes or more": {"logits_fn": lambda x: linear(W[:, :1], x), "labels": 0 * Y},
    "jnp.stack": {"logits_fn": lambda x: linear(W[:, 0], x), "labels": 0 * Y},
    "and nothing else": {"logits_fn": lambda x: (linear(W, x), None)},
    "logits are not finite for 6 of 6": {"logits_fn": lambda x: linear(W * np.nan, x)},
    "at least 0, got -0.1": {"radius": -0.1},
    "at least 0, got nan": {"radius": np.nan},
    "radius=8: expected at most 1 in linf": {"radius": 8, "norm": "linf"},
    "radius must be a number": {"radius": np.full(3, 0.1)},
    "got None": {"radius": None},
}  # fmt: skip
INSIDE_JIT = ("bytes", "at least one", "argmax", "astype", "each of 6", "2 classes", "stack", "nothing else", "-0.1")


@names
@pytest.mark.parametrize("classes", [2, 3])
def test_every_attack_takes_few_classes_by_default(name, classes):
    shape = jax.eval_shape(lambda x: attacked(name, lambda x: linear(W[:, :classes], x), x, Y % classes), X)
    assert shape.x_adv.shape == X.shape


@names
@pytest.mark.usefixtures("unchecked_signatures")
def test_every_attack_refuses_what_it_cannot_read_in_one_line(name):
    for message, change in BAD.items():
        assert message in refused(lambda change=change: attacked(name, **change)), message


@names
@pytest.mark.usefixtures("unchecked_signatures")
def test_shapes_and_dtypes_are_checked_inside_of_jit(name):
    for message, change in BAD.items():
        if any(part in message for part in INSIDE_JIT):
            arguments = {"images": X, "labels": Y} | change
            images, labels = arguments.pop("images"), arguments.pop("labels")
            run = jax.jit(lambda images, labels, arguments=arguments: attacked(name, images=images, labels=labels, **arguments))
            assert message in refused(lambda run=run, images=images, labels=labels: run(images, labels)), message


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize("name", ["pgd", "apgd_t", "square", "autoattack"])
def test_what_is_no_random_key_is_refused(name):
    assert "got the integer 0: give jax.random.key(0)" in refused(lambda: attacked(name, key=0))
    assert "got the integer seed" in refused(lambda: jax.jit(lambda key: attacked(name, key=key))(0))
    assert "expected a key" in refused(lambda: attacked(name, key=None))
    assert "expected a random key" in refused(lambda: attacked(name, key="0"))
    expected = "expected one random key, got keys (3,)" if name == "autoattack" else "one for each of 6"
    assert expected in refused(lambda: attacked(name, key=jax.random.split(KEY, 3)))
    if name == "pgd":
        run = jax.jit(lambda key: attacked(name, key=key).x_adv)
        np.testing.assert_array_equal(run(jax.random.PRNGKey(0)), run(KEY))


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize("function", [*map(attacks.attack, BUDGETS), *BOUNDS], ids=lambda function: function.__name__)
def test_a_radius_without_its_name_is_not_taken_for_a_key(function):
    """Python itself asks for a radius where it has no default."""
    radius = {} if function in BOUNDS else {"radius": 0.1}
    for number in (0.1, jnp.float32(0.1)):
        assert "give radius=0.1" in refused(lambda number=number: function(NETWORK, X, Y, number, **radius))
    assert "give radius=..." in refused(lambda: function(NETWORK, X, Y, jnp.full(BATCH, 0.1), **radius))


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pgd", {"restarts": 0}, "restarts=0: expected at least 1"),
        ("apgd_t", {"targets": 0}, "targets=0: expected at least 1"),
        ("cw", {"searches": 0}, "searches=0: expected at least 1"),
        ("autoattack", {"targets": 0}, "targets=0: expected at least 1"),
        ("autoattack", {"batch_size": 0}, "batch_size=0: expected at least 1"),
        ("pgd", {"step_size": -1.0}, "step_size must be at least 0, got -1"),
        ("pgd", {"radius": np.inf}, "radius must be finite"),
        ("pgd", {"radius": np.linspace(0, 1.5, BATCH)}, "radius=1.5: expected at most 1 in linf"),
        ("pgd", {"x_init": X[:2]}, "x_init must have the shape of the images"),
        ("pgd", {"x_init": X * np.nan}, "x_init must be finite"),
        ("apgd", {"target": np.full(6, 9)}, "target go from 9 to 9, but the network has 5 classes"),
        ("apgd", {"target": [9] * 6}, "target go from 9 to 9, but the network has 5 classes"),
        *[(name, {"target": Y}, "target equals the label of 6 images, first of image 0") for name in ("pgd", "apgd", "fab")],
        ("pgd", {"target": [*(Y[:2] + 1) % CLASSES, *Y[2:]]}, "target equals the label of 4 images, first of image 2"),
        *[("square", {"share": bad}, f"share={bad}: expected a share of the pixels in (0, 1]") for bad in (0.0, 3.0)],
        ("autoattack", {"radius": np.full(BATCH, 0.1)}, "radius must be a number, got"),
        *[(name, {option: 3.0}, f"{option}=3.0: expected at least") for name, option in COUNTS],
        ("apgd", {"loss": lambda logits, labels: logits.sum()}, "a loss must be one number for each of 6 images, got shape ()"),
        *[(name, {option: bad}, f"{option} must be ") for name, option in NUMBERS for bad in (np.nan, np.inf, -0.1, "0.1")],
    ],
)
def test_options_that_would_leave_every_image_robust_are_refused(name, options, message):
    assert message in refused(lambda: attacked(name, **options))


@pytest.mark.parametrize("name", ["pgd", "apgd"])
def test_runs_begin_in_the_ball(name):
    result = jax.jit(lambda start: attacked(name, x_init=start, radius=0.01))(1 - X)
    assert np.abs(np.asarray(result.x_adv) - X).max() < 0.010001


@pytest.mark.parametrize(
    "look", [lambda f: attacked("fgsm", f), lambda f: clean_predictions(f, X, Y, 4)], ids=["attack", "predictions of autoattack"]
)
def test_probabilities_bring_a_warning_and_logits_none(look):
    with pytest.warns(UserWarning, match="returns probabilities"):
        look(lambda x: jax.nn.softmax(linear(W, x)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look(lambda x: jax.nn.log_softmax(linear(W, x)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_all_that_squashes_logits_is_seen_in_every_precision_and_logits_are_not_taken_for_it(dtype, classes):
    @functools.partial(jax.jit, compiler_options={"xla_allow_excess_precision": False})  # each operation rounds, as out of jit
    def outputs(z):
        log_softmax, softmax = jax.nn.log_softmax(z), jax.nn.softmax(z)
        squashed = {"softmax": softmax, "sigmoid": jax.nn.sigmoid(z), "exp of log": jnp.exp(log_softmax), "%": 100 * softmax}
        return squashed, {"logits": z, "log_softmax": log_softmax, "relu": jax.nn.relu(100 * z)}

    logits = np.random.default_rng(0).normal(size=(8, classes))
    for scale in (1e-2, 1, 30):
        squashed, others = outputs((scale * logits).astype(dtype))
        assert {name: are_probabilities(z) for name, z in squashed.items()} == dict.fromkeys(squashed, True), scale
        assert {name: are_probabilities(z) for name, z in others.items()} == dict.fromkeys(others, False), scale


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    "function",
    [
        lambda f, x, y, **o: bounds.margin(f, x, y, radius=0.1, clip=(0, 1)),
        lambda f, x, y, **o: bounds.class_margins(f, x, y, radius=0.1, clip=(0, 1)),
        lambda f, x, y, **o: bounds.certified_radius(f, x, y, clip=(0, 1)),
        lambda f, x, y, **o: bounds.class_certified_radii(f, x, y, clip=(0, 1)),
        lambda f, x, y, **o: certified_radii(f, x, y, KEY),
        lambda f, x, y, **o: attack_radii(f, x, y, KEY, attack="pgd", steps=2),
    ],
)
def test_certificates_refuse_the_same(function):
    shared = ("to 0.5", "subtract 1", "without a label", "argmax", "astype", "each of 6", "2 classes", "stack", "not finite")
    for message, change in BAD.items():
        if any(part in message for part in shared):
            arguments = {"logits_fn": NETWORK, "images": X, "labels": Y} | change
            refused(lambda arguments=arguments: function(*arguments.values()))


def test_first_radii_of_a_search_are_positive():
    for start in (0.0, -0.1, np.nan, np.inf):
        assert "start must be" in refused(lambda start=start: bounds.certified_radius(NETWORK, X, Y, start=start))


@pytest.mark.usefixtures("unchecked_signatures")
def test_searches_of_radii_refuse_options_that_would_mislead():
    for call, message in [
        (lambda: verified_radii(NETWORK, X, Y, clip=(1, 0)), "clip must be (low, high), got (1, 0)"),
        (lambda: verified_radii(NETWORK, X, Y, accuracy=np.nan), "accuracy must be"),
        (lambda: verified_radii(NETWORK, X, Y, steps=0), "steps=0: expected at least 1"),
        (lambda: certified_radii(NETWORK, X, Y, KEY, norm="l1"), "norm 'l1': expected 'linf' or 'l2'"),
        (lambda: certified_radii(NETWORK, X, Y, KEY, steps=1.5), "steps=1.5: expected at least 1"),
        (lambda: certified_radii(NETWORK, X, Y, KEY, accuracy=-1.0), "accuracy must be"),
        (lambda: attack_radii(NETWORK, X, Y, KEY, attack="pgd", steps=2, tries=0), "tries=0: expected at least 1"),
        (lambda: class_counts(NETWORK, X, KEY, sigma=0.5, samples=10.0), "samples=10.0: expected at least 1, a whole number"),
        (lambda: class_counts(NETWORK, X, KEY, sigma=0.5, samples=2, first=-1), "first=-1: expected at least 0"),
        (lambda: class_counts(NETWORK, X, KEY, sigma=[0.5], samples=2), "sigma must be a number"),
        (lambda: certificate(np.array([[9, 1]]), np.array([[9, -1]]), sigma=1.0, alpha=0.1), "expected counts"),
        (lambda: certificate(np.array([[9, 1]]), np.array([[9, np.nan]]), sigma=1.0, alpha=0.1), "expected counts"),
    ]:
        assert message in refused(call)


def test_smoothing_certifies_no_network_whose_logits_are_nan():
    def counts(network, sigma=0.5):
        return class_counts(network, X, KEY, sigma=sigma, samples=20, chunk=8)

    assert counts(NETWORK).sum(1).tolist() == [20] * BATCH
    refused(lambda: counts(lambda x: linear(W * np.nan, x)))
    refused(lambda: counts(lambda x: jnp.where(x[:, 0, 0] > 1, jnp.nan, linear(W, x))))  # only some noisy images
    for sigma in (0.0, -1.0, np.nan, np.inf):
        refused(lambda sigma=sigma: counts(NETWORK, sigma))
        refused(lambda sigma=sigma: certificate(np.array([[9, 1]]), np.array([[9, 1]]), sigma=sigma, alpha=0.001))
