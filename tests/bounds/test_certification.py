"""Certified radii: exact on linear models, below every attack on others, and among the radii tried."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network
from jax.tree_util import Partial

from dsrna_jax.attacks.keys import example_keys
from dsrna_jax.errors import InputError, RefutedError
from dsrna_jax.evaluation.certify.attack_radii import attack_radii, check_not_refuted
from dsrna_jax.evaluation.certify.exact_radii import verified_radii
from dsrna_jax.evaluation.certify.radii import TARGETS, certified_radii, rivals
from dsrna_jax.evaluation.certify.radius_search import box_diameter, largest_radii, lost_share

RANDOM = np.random.default_rng(0)
WEIGHTS = {"w": np.float32(RANDOM.normal(size=(12, 5)) / 4), "b": np.float32(RANDOM.normal(size=5) / 8)}
X = np.float32(RANDOM.uniform(0.4, 0.6, (24, 12)))
DUAL = {"linf": 1, "l2": 2}
KEYS = example_keys(jax.random.key(0), 24)
DRAWS = np.asarray(jax.vmap(jax.random.uniform)(KEYS))  # of the random targets


def affine(weights, x):
    return x @ weights["w"] + weights["b"][None]


LINEAR = Partial(affine, WEIGHTS)
LOGITS = X.astype(float) @ WEIGHTS["w"].astype(float) + WEIGHTS["b"].astype(float)
LABELS = np.where(np.arange(24) % 6 == 5, (LOGITS.argmax(1) + 1) % 5, LOGITS.argmax(1))  # every sixth is wrong
RIGHT = LOGITS.argmax(1) == LABELS


def distances(norm):
    """[batch, class]: how far the boundary to each class is; infinite for the own one."""
    weights, rows = WEIGHTS["w"].astype(float).T, np.arange(24)
    gaps = LOGITS[rows, LABELS][:, None] - LOGITS
    lengths = np.linalg.norm(weights[LABELS][:, None] - weights[None], ord=DUAL[norm], axis=2)
    exact = gaps / np.where(lengths > 0, lengths, 1)
    exact[rows, LABELS] = np.inf
    return exact


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("method", ["crown_ibp", "hz_crown"])
def test_radii_of_a_linear_model_are_its_distances(norm, method):
    radii = certified_radii(LINEAR, X, LABELS, KEYS, norm=norm, method=method, chunk=16, steps=30)
    exact, ranked = distances(norm), np.argsort(LOGITS, 1)
    others = np.array([[c for c in range(5) if c != label] for label in LABELS])
    classes = {
        "random": others[np.arange(24), (DRAWS * 4).astype(int)],
        "least_likely": ranked[:, 0],
        "runner_up": ranked[:, -2],
    }
    for name, radius in zip(TARGETS, radii, strict=True):
        expected = exact.min(1) if name == "minimum" else exact[np.arange(24), classes[name]]
        assert (radius[RIGHT] <= expected[RIGHT]).all()
        np.testing.assert_allclose(radius[RIGHT], expected[RIGHT], rtol=0.012, err_msg=name)
        assert (radius[~RIGHT] == 0).all()


@pytest.mark.parametrize(("name", "norm"), [("pgd", "linf"), ("pgd", "l2"), ("fab", "linf"), ("fab", "l2"), ("ddn", "l2")])
def test_attacks_of_a_linear_model_end_just_beyond_its_distances(name, norm):
    sizes = attack_radii(LINEAR, X, LABELS, KEYS, attack=name, norm=norm, steps=300 if name == "ddn" else 100, tries=14)
    exact = distances(norm).min(1)
    assert (sizes[RIGHT] >= exact[RIGHT] * (1 - 1e-5)).all() and (sizes[~RIGHT] == 0).all()
    assert (sizes[RIGHT] <= exact[RIGHT] * (1.5 if name == "ddn" else 1.1)).all()


def test_verified_radii_and_counterexamples_enclose_the_distances_of_a_linear_model():
    found = verified_radii(LINEAR, X[:6], LABELS[:6], accuracy=0.01, steps=30)
    exact = distances("linf").min(1)[:6]
    assert (found.certified <= exact)[RIGHT[:6]].all() and (exact <= found.attacked)[RIGHT[:6]].all()
    np.testing.assert_allclose(found.certified[RIGHT[:6]], exact[RIGHT[:6]], rtol=0.011)
    assert not found.certified[~RIGHT[:6]].any() and not found.attacked[~RIGHT[:6]].any()


@pytest.mark.slow
def test_verified_radii_lie_between_those_of_bounds_and_of_attacks_on_a_convolutional_network():
    network = Partial(small_network.network, jax.tree.map(jnp.asarray, small_network.WEIGHTS))
    images, labels = small_network.IMAGES[:1], small_network.LABELS[:1]
    options = {"clip": (0.0, 1.0), "steps": 6}
    bounded = certified_radii(network, images, labels, KEYS[:1], method="crown_ibp", **options)[0]
    found = verified_radii(network, images, labels, timeout=10, accuracy=0.05, **options)
    assert (found.certified >= bounded * 0.99).all() and (found.certified <= found.attacked).all()


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_nothing_is_certified_beyond_an_attack(norm):
    """A trained network with convolutions and both kinds of pools, on real digits."""
    network = Partial(small_network.network, jax.tree.map(jnp.asarray, small_network.WEIGHTS))
    images, labels = small_network.IMAGES[:12], small_network.LABELS[:12]
    attacked = attack_radii(network, images, labels, KEYS[:12], attack="pgd", norm=norm, steps=20)
    options = {"norm": norm, "chunk": 128, "steps": 16}
    loose, tight, unclipped = (
        certified_radii(network, images, labels, KEYS[:12], method=method, clip=clip, **options)
        for method, clip in (("ibp", (0.0, 1.0)), ("crown_ibp", (0.0, 1.0)), ("ibp", None))
    )
    right = attacked > 0
    for minimum, *others in (loose, tight):
        assert (minimum[right] > 0).all() and (minimum <= attacked).all()
        assert all((minimum <= other * 1.01).all() for other in others)
    assert loose[0].mean() < tight[0].mean() and unclipped[0].mean() < loose[0].mean()
    check_not_refuted(tight[0], attacked)


def test_logits_that_are_not_finite_are_an_error():
    broken = Partial(affine, {**WEIGHTS, "b": np.float32(np.nan) * WEIGHTS["b"]})
    with pytest.raises(InputError, match="not finite"):
        certified_radii(broken, X, LABELS, KEYS, norm="l2", method="ibp", chunk=16, steps=3)


def test_a_refuted_certificate_is_an_error():
    with pytest.raises(RefutedError, match="1 of 3 certificates are refuted: example 1 is certified up to 0.2.* at 0.1;"):
        check_not_refuted(np.array([0.1, 0.2, 0.0]), np.array([0.1, 0.1, 0.0]))


def test_attacks_without_the_norm_are_refused():
    with pytest.raises(InputError, match="attack='cw' does not support norm 'linf'"):
        attack_radii(LINEAR, X, LABELS, KEYS, attack="cw", norm="linf", steps=3)


def test_rivals_are_the_classes_of_each_target():
    logits = np.array([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    targets = rivals(logits, np.array([0, 3]), np.array([0.99, 0.34]))
    assert targets.shape == (4, 2, 3) and targets[0].all()
    np.testing.assert_array_equal(targets[1:, 0].argmax(1), [2, 2, 1])  # of the classes 1, 2, 3
    np.testing.assert_array_equal(targets[1:, 1].argmax(1), [1, 1, 0])  # of the classes 0, 1, 2
    assert (targets[1:].sum(2) == 1).all()


def test_search_returns_a_radius_that_held_even_if_not_monotone():
    tried = []

    def lost(radius):
        tried.append(radius.copy())
        edges = np.array([0.3, 1e-9, 0.0, 9.0, 0.3])
        in_a_gap = (np.arange(5) == 4) & (radius > 0.05) & (radius < 0.2)
        return np.where((radius <= edges) & ~in_a_gap, 0, np.inf)[None]

    right = np.array([True] * 5)
    radii = largest_radii(lost, 1, right, start=0.1, limit=2.0, steps=40, accuracy=0.01)[0]
    np.testing.assert_allclose(radii[:4], [0.3, 1e-9, 0, 2.0], rtol=0.01)
    assert 0.049 < radii[4] < 0.0501  # what begins in the gap ends below it
    for example, radius in enumerate(radii):
        assert radius in [0, *(float(t[example]) for t in tried)]


@pytest.mark.parametrize("seed", range(5))
def test_search_finds_the_edge_whatever_is_lost_below_it(seed):
    """Powers that grow, steps, explosions, NaN: the radius that is returned held, and one that is 1 % larger did not."""
    draws = np.random.default_rng(seed)
    edges, power = 10 ** draws.uniform(-6, -0.1, 64), draws.uniform(0.1, 8, 64)

    def lost(radius):
        share = (radius / edges) ** power
        explodes, knows_nothing = draws.random(64) < 0.3, draws.random(64) < 0.3
        share = np.where((share > 1) & explodes, draws.choice([1e30, np.inf, np.nan], 64), share)
        return np.where((share < 1) & knows_nothing, 0, share)[None]

    radii = largest_radii(lost, 1, np.ones(64, bool), start=0.05, limit=1.0, steps=60, accuracy=0.01)[0]
    assert (radii < edges).all() and (radii >= edges / 1.0101).all()


def test_secants_take_far_fewer_tries_than_bisection():
    tries = {}

    for name, told in (("secant", lambda share: share), ("bisection", lambda share: np.where(share < 1, 0, np.inf))):
        tries[name] = 0

        def lost(radius, name=name, told=told):
            tries[name] += 1
            bound = radius / np.array([0.004, 0.02, 0.3])
            return told(np.expm1(bound) / np.expm1(1))[None]  # bounds explode beyond the edge

        radii = largest_radii(lost, 1, np.ones(3, bool), start=0.05, limit=1.0, steps=40, accuracy=0.01)[0]
        np.testing.assert_allclose(radii, [0.004, 0.02, 0.3], rtol=0.0101)
    assert tries["secant"] <= 0.6 * tries["bisection"]


def test_search_keeps_to_its_steps_and_shares_tried_radii_between_groups():
    tried = []

    def lost(radius):
        tried.append(radius)
        return np.stack([radius / 0.3, radius / 0.3])

    first = largest_radii(lost, 2, np.array([True]), start=0.1, limit=1.0, steps=40, accuracy=0.01)
    assert first[0] == first[1] and len(tried) < 12
    tried.clear()
    largest_radii(lost, 2, np.array([True]), start=0.1, limit=1.0, steps=3, accuracy=1e-9)
    assert len(tried) == 6
    tried.clear()
    assert largest_radii(lost, 2, np.array([False]), start=0.1, limit=1.0, steps=3, accuracy=0.1).max() == 0 and not tried


def test_less_than_all_is_lost_where_and_only_where_a_bound_is_positive():
    clean, margin = np.array([1.0, 1.0, 1.0, 1e-30, 0.0, 0.0]), np.array([1e-30, 0.0, np.nan, -1.0, 0.0, -1.0])
    np.testing.assert_array_equal(lost_share(clean, margin) < 1, [True, False, False, False, False, False])
    np.testing.assert_allclose(lost_share(np.array([4.0]), np.array([1.0])), 0.75)


def test_the_diameter_of_the_box_is_its_diagonal():
    assert box_diameter("linf", (8, 8, 1)) == 1.0 and box_diameter("l2", (8, 8, 1)) == 8.0


def test_radii_against_some_targets_are_those_of_all_within_the_accuracy():
    every = certified_radii(LINEAR, X, LABELS, KEYS, method="ibp", arithmetic="exact")
    for targets in (("minimum",), ("least_likely", "random")):
        some = certified_radii(LINEAR, X, LABELS, KEYS, targets=targets, method="ibp", arithmetic="exact")
        np.testing.assert_allclose(some, every[[TARGETS.index(target) for target in targets]], rtol=0.0101)
