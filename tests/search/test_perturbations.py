"""Perturbed mixtures are those of SmoothDARTS: by hand, in numpy, at radius 0, and without what is pruned."""

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.networks import spaces
from dsrna_jax.search import losses, mixing, perturbations
from dsrna_jax.search.state import SearchBatch

KEY = jax.random.key(0)


def softmax(logits):
    return np.float32(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))


rng = np.random.default_rng(0)
SHARES = {"normal": softmax(rng.normal(size=(5, 4))), "reduction": softmax(2 * rng.normal(size=(5, 4)))}
TARGET = {kind: rows[::-1, ::-1] for kind, rows in SHARES.items()}


def distance(shares):
    """Half the squared distance of `TARGET`, whose gradient is the difference."""
    return sum(0.5 * jnp.sum((shares[kind] - TARGET[kind]) ** 2) for kind in shares)


GRADIENT = jax.value_and_grad(distance)
UNIFORM, ADVERSARIAL = (
    jax.jit(functools.partial(perturb, GRADIENT, steps=7)) for perturb in (perturbations.uniform, perturbations.adversarial)
)


def test_rows_are_cut_and_divided_by_their_sums():
    rows = np.float32([[0.5, 0.7, -0.2], [-0.3, -0.1, -0.2], [1.5, 0.5, 0.0]])
    expected = [[5 / 12, 7 / 12, 0], [0, 1, 0], [2 / 3, 1 / 3, 0]]
    np.testing.assert_allclose(jax.jit(perturbations.probabilities)({"a": rows})["a"], expected, rtol=1e-6)


@pytest.mark.parametrize("radius", [0.03, 0.3])
def test_uniform_perturbations_fill_the_box_before_rows_are_made_probabilities(radius):
    flat = {"a": np.full((20_000, 4), 0.5, np.float32)}  # no entry is cut, so ratios of a row are those of the box
    moved = np.asarray(UNIFORM(flat, KEY, radius)["a"])
    np.testing.assert_allclose(moved.sum(1), 1, rtol=1e-5)
    ratio = moved[:, 0] / moved[:, 1]
    top = (0.5 + radius) / (0.5 - radius)
    assert 0.95 * top < ratio.max() <= top * 1.0001 and 1 / (top * 1.0001) <= ratio.min() < 1 / (0.95 * top)
    assert abs(np.log(ratio).mean()) < 0.02


def published(shares, start, radius, steps):
    """`attacker/perturb.py` of the published code, in numpy, for the loss `distance`."""

    def clip(p):
        for rows in p.values():
            for row in rows:
                largest = row.argmax()
                np.clip(row, 0, 1, out=row)
                if row.sum() == 0:
                    row[largest] = 1
                row /= row.sum()

    saved = {kind: np.array(rows, np.float64) for kind, rows in shares.items()}
    p = {kind: np.array(rows, np.float64) for kind, rows in start.items()}
    for _ in range(steps):
        for kind in p:
            moved = p[kind] + 2 * radius / steps * np.sign(p[kind] - TARGET[kind])
            p[kind] = saved[kind] + np.clip(moved - saved[kind], -radius, radius)
        clip(p)
    return p


@pytest.mark.parametrize("radius", [0.03, 0.3])
def test_adversarial_perturbations_are_those_of_the_published_code(radius):
    start, ours = UNIFORM(SHARES, KEY, radius), ADVERSARIAL(SHARES, KEY, radius)
    theirs = published(SHARES, start, radius, 7)
    for kind in SHARES:
        np.testing.assert_allclose(ours[kind], theirs[kind], atol=2e-6)
    of_ours, of_start, of_shares = map(jax.jit(distance), (ours, start, SHARES))
    assert of_ours > of_start and of_ours > of_shares


def test_shares_stay_where_every_step_would_lower_the_loss():
    peak = lambda shares: -sum(jnp.sum(jnp.abs(shares[kind] - SHARES[kind])) for kind in shares)  # noqa: E731
    adversarial = jax.jit(functools.partial(perturbations.adversarial, jax.value_and_grad(peak)))
    for kind, rows in adversarial(SHARES, KEY, 0.1).items():
        np.testing.assert_array_equal(rows, SHARES[kind])


def test_the_radius_rises_from_epoch_to_epoch():
    radii = [perturbations.radius(epoch, 50, 0.03, 0.3) for epoch in (0, 25, 49)]
    np.testing.assert_allclose(radii, [0.03, 0.165, 0.03 + 0.27 * 49 / 50], rtol=1e-6)


@pytest.mark.parametrize("perturb", [UNIFORM, ADVERSARIAL], ids=["uniform", "adversarial"])
def test_perturbations_of_radius_0_leave_the_shares_but_for_rounding(perturb):
    for kind, rows in perturb(SHARES, KEY, 0.0).items():
        np.testing.assert_allclose(rows, SHARES[kind], rtol=3e-7)


def test_a_row_without_a_positive_share_takes_the_largest_that_is_kept():
    rows, kept = {"a": np.float32([[-0.2, 0.0, -0.1]])}, {"a": np.array([[True, False, True]])}
    np.testing.assert_array_equal(jax.jit(perturbations.probabilities)(rows, kept)["a"], [[0, 0, 1]])


# Every preset whose edges or blocks do not have all operations, and a stage of P-DARTS.
FEWER = {
    name: config
    for name, config in PRESETS.items()
    if name.startswith("digits_") and config.strategy == "gradient" and (config.prune_below or config.kept is not None)
} | {"stage": dataclasses.replace(PRESETS["digits_pdarts"], stages="", nodes=1, operations="023,345;0367,1234")}


@pytest.mark.parametrize("perturbation", ["adversarial", pytest.param("uniform", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FEWER)
def test_perturbations_give_no_share_to_an_operation_that_is_not_kept(name, perturbation, monkeypatch):
    """The perturbation of a weight step, whose loss grows with some shares."""

    def rising(_, __, mixtures, ___):
        return lambda images: (
            images[:, 0, 0]
            * sum(leaf.ravel() @ jnp.sin(jnp.arange(leaf.size)) for leaf in jax.tree.leaves(mixtures))
            * jnp.arange(2.0)[None]
        )

    monkeypatch.setattr(losses, "NetworkFunction", rising)
    config = dataclasses.replace(FEWER[name], perturbation=perturbation, perturbation_start=0.3)
    initial = functools.partial(spaces.initial_alphas, space=config.space, nodes=config.nodes, cells=config.cells)
    kept: Any = config.kept or {kind: np.arange(8) % 3 == np.arange(14)[:, None] % 3 for kind in jax.eval_shape(initial, KEY)}
    unused: Any = None

    @jax.jit
    def perturbed(batch):
        alphas = initial(KEY)
        state: Any = SimpleNamespace(step=0, weights={}, batch_stats={}, alphas=alphas, kept=kept)
        shares = mixing.MIXTURES[config.mixture](alphas, 1.0, None, kept)
        return shares, losses.SupernetLosses(config, unused, (1, 1, 1), 1, unused, None).perturbed(state, batch, KEY, shares)[0]

    shares, moved = perturbed(SearchBatch(np.ones((2, 1, 1, 1), np.float32), np.zeros(2, int)))
    for group, rows in moved.items():
        np.testing.assert_array_equal(np.asarray(rows)[~np.asarray(kept[group])], 0)
        np.testing.assert_allclose(np.sum(rows, axis=1), 1, rtol=1e-5)
        assert np.abs(np.asarray(rows) - np.asarray(shares[group])).max() > 0.01
