"""Attacks against other people's: what PyTorch's AutoAttack result (tests/golden), and foolbox on JAX where it is installed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_network import GOLDEN, IMAGES, LABELS, logits_fn

from dsrna_jax import attacks
from dsrna_jax.attacks.losses import cross_entropy, runner_up

RADIUS = {"linf": 0.1, "l2": 0.5}
images, labels = jnp.asarray(IMAGES), jnp.asarray(LABELS)
norms = pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
# Attacks of hundreds of steps: code that is optimised saves more time than it costs.
optimised = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 1})


@functools.partial(optimised, static_argnames=("norm", "loss", "steps", "rank"))
def apgd(images, labels, norm, loss, steps, rank=0):
    target = runner_up(logits_fn(images), labels, rank) if rank else None
    options = {"radius": RADIUS[norm], "norm": norm, "steps": steps, "loss": loss, "x_init": images, "target": target}
    return attacks.apgd(logits_fn, images, labels, **options)


def test_the_network_classifies_as_in_pytorch():
    np.testing.assert_array_equal(np.asarray(jax.jit(logits_fn)(images)).argmax(1) == LABELS, GOLDEN["clean_right"])


@norms
@pytest.mark.parametrize("loss", ["ce", pytest.param("dlr", marks=pytest.mark.slow)])
@pytest.mark.parametrize("steps", [pytest.param(20, marks=pytest.mark.slow), 100])
def test_apgd_fools_the_same_examples(norm, loss, steps):
    result = apgd(images, labels, norm, loss, steps)
    np.testing.assert_array_equal(~np.asarray(result.success), GOLDEN[f"apgd_{norm}_{loss}_{steps}_right"])
    if loss == "ce":
        # Their softmax - 1 takes its last digits, or all of a gradient of 1e-9, from rounding, and a hundred steps amplify that:
        # some examples go their own way, in PyTorch with another batch size too.
        difference = np.abs(np.asarray(result.loss) - GOLDEN[f"apgd_{norm}_{loss}_{steps}_loss"])
        assert np.median(difference) < 2e-6 and np.mean(difference < 2e-5) > 0.8, np.sort(difference)[-8:]


@norms
@pytest.mark.parametrize("rank", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_targeted_apgd_fools_the_same_examples(norm, rank):
    result = apgd(images, labels, norm, "dlr", 100, rank)
    np.testing.assert_array_equal(~np.asarray(result.success), GOLDEN[f"apgd_{norm}_towards_{rank}_right"])


@norms
def test_fab_finds_the_same_distances(norm):
    @optimised
    def run(rank):
        target = runner_up(logits_fn(images), labels, rank)
        return attacks.fab(logits_fn, images, labels, norm=norm, target=target).distance

    right = GOLDEN["clean_right"]
    for rank in (1, 4):
        ours, theirs = np.asarray(run(rank)), GOLDEN[f"fab_{norm}_towards_{rank}_distance"]
        np.testing.assert_allclose(ours[right], theirs[right], rtol=2e-3)


@pytest.mark.slow
@norms
def test_autoattack_leaves_as_many_robust_examples(norm):
    """Half a point of 96 examples is less than one: but for random starts they are the same."""
    options = {"radius": RADIUS[norm], "norm": norm, "steps": 50, "queries": 200, "batch_size": 32}
    result = attacks.autoattack(logits_fn, IMAGES, LABELS, jax.random.key(0), **options)
    assert abs((~result.success).mean() - GOLDEN[f"autoattack_{norm}_right"].mean()) < 0.011


@pytest.fixture(scope="module")
def foolbox_model():
    fb = pytest.importorskip("foolbox")
    return fb, fb.JAXModel(jax.jit(logits_fn), bounds=(0, 1))


def assert_same_attack(result, expected, fooled, tolerance):
    np.testing.assert_array_equal(result.success, fooled)
    # Where a network is all but sure, the gradient of its cross-entropy is what rounding leaves of it.
    counts = np.asarray(jax.jit(lambda images: cross_entropy(logits_fn(images), labels))(images)) > 1e-4
    np.testing.assert_allclose(np.asarray(result.x_adv)[counts], np.asarray(expected)[counts], atol=tolerance)
    assert counts.sum() > 40


@norms
def test_pgd_takes_the_steps_of_foolbox(foolbox_model, norm):
    fb, model = foolbox_model
    theirs = {"linf": fb.attacks.LinfPGD, "l2": fb.attacks.L2PGD}[norm](steps=10, abs_stepsize=0.025, random_start=False)
    _, expected, fooled = theirs(model, images, labels, epsilons=RADIUS[norm])
    options = {"radius": RADIUS[norm], "norm": norm, "steps": 10, "step_size": 0.025, "random_start": False, "keep": "last"}
    ours = jax.jit(lambda images, labels: attacks.pgd(logits_fn, images, labels, **options))(images, labels)
    assert_same_attack(ours, expected, fooled, 1e-3)


@norms
def test_fgsm_equals_that_of_foolbox(foolbox_model, norm):
    fb, model = foolbox_model
    theirs = {"linf": fb.attacks.FGSM, "l2": fb.attacks.FGM}[norm](random_start=False)
    _, expected, fooled = theirs(model, images, labels, epsilons=RADIUS[norm])
    ours = jax.jit(lambda images, labels: attacks.fgsm(logits_fn, images, labels, radius=RADIUS[norm], norm=norm))(images, labels)
    assert_same_attack(ours, expected, fooled, 1e-4)
