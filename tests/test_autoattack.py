"""Series of attacks and AutoAttack: the worst case counts, whatever the batches, and nothing is compiled twice."""

import functools

import jax
import numpy as np
from jax.tree_util import Partial
from small_network import WEIGHTS, X, Y, logits_fn, network

from dsrna_jax import attacks
from dsrna_jax.attacks import series
from dsrna_jax.attacks.autoattack import stages

KEY = jax.random.key(5)
BUDGET = {"steps": 10, "queries": 50, "targets": 3}
x, y = X[:40], Y[:40]


@functools.cache
def found(batch_size=16, order=None, radius=0.07, factor=1.0):
    order = slice(None) if order is None else list(order)
    weights = jax.tree.map(lambda w: factor * w, WEIGHTS)
    options = {"radius": radius, "norm": "linf", "batch_size": batch_size, **BUDGET}
    return attacks.autoattack(Partial(network, weights), x[order], y[order], KEY, **options)


def test_it_leaves_what_every_member_leaves():
    """Each member on all examples, not only on those that are still robust."""
    fooled = np.asarray(logits_fn(x)).argmax(1) != y
    for stage in stages("standard", **BUDGET):
        keys = attacks.example_keys(series.stage_key(KEY, stage), 40)
        for run in range(stage.runs):
            options = {"radius": np.float32(0.07), "stage": stage, "norm": "linf"}
            member = series.stage_result(Partial(network, WEIGHTS), x, y, keys, run, **options)
            assert not (np.asarray(member.success) & ~found().success).any()
            fooled |= np.asarray(member.success)
    np.testing.assert_array_equal(found().success, fooled)
    assert 0.2 < fooled.mean() < 0.95


def test_results_hold():
    size = np.abs(found().x_adv - x).max((1, 2, 3))
    assert (size <= 0.07 + 1e-6).all() and (found().x_adv >= 0).all() and (found().x_adv <= 1).all()
    np.testing.assert_array_equal(np.asarray(logits_fn(found().x_adv)).argmax(1) != y, found().success)
    np.testing.assert_allclose(found().distance, size, atol=1e-6)
    wrong = np.asarray(logits_fn(x)).argmax(1) != y
    np.testing.assert_array_equal(found().x_adv[wrong], x[wrong])
    # Whoever is still robust has met every member.
    assert (found().steps[~found().success] > 11 + 3 * 11 + 3 * 10 + 50 - 1).all()


def test_batch_size_does_not_matter():
    other = found(batch_size=7)
    np.testing.assert_array_equal(other.success, found().success)
    np.testing.assert_array_equal(other.steps, found().steps)
    np.testing.assert_allclose(other.x_adv, found().x_adv, atol=2e-3)


def test_another_radius_or_checkpoint_compiles_nothing():
    found()
    programs = (series.stage_result._cache_size(), series.predictions._cache_size())
    assert found(radius=0.03).success.mean() < found().success.mean()
    found(factor=1.1)
    assert (series.stage_result._cache_size(), series.predictions._cache_size()) == programs


def test_a_series_that_was_cut_off_goes_on_where_it_was():
    settings = {"radius": 0.07, "norm": "linf", "batch_size": 16}
    clean = np.asarray(logits_fn(x)).argmax(1) == y
    network_of = Partial(network, WEIGHTS)

    def run(completed):
        options = {"stages": stages("standard", **BUDGET), "robust": clean, "completed": completed}
        return list(series.run_series(network_of, x, y, KEY, **options, **settings))

    whole = run({})
    done, numbers = {}, {}
    for batch in whole[:5]:
        number = numbers[batch.stage, batch.run] = numbers.get((batch.stage, batch.run), -1) + 1
        done[batch.stage, batch.run, number] = batch.indices[batch.result.success]
    rest = run(done)
    assert [(b.stage, b.run, b.indices.tolist()) for b in rest] == [(b.stage, b.run, b.indices.tolist()) for b in whole[5:]]
    for one, other in zip(rest, whole[5:], strict=True):
        np.testing.assert_array_equal(one.fallen, other.fallen)


def test_versions():
    names = {version: [(s.name, s.runs) for s in stages(version)] for version in ("standard", "plus", "rand")}
    assert names["standard"] == [("apgd-ce", 1), ("apgd-t", 9), ("fab-t", 9), ("square", 1)]
    assert [name for name, _ in names["plus"]] == ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert dict(names["plus"])["apgd-ce"] == 5 and dict(stages("plus")[2].options)["restarts"] == 5
    assert [(s.name, dict(s.options)["draws"]) for s in stages("rand")] == [("apgd-ce", 20), ("apgd-dlr", 20)]


def test_a_network_that_draws_at_random():
    def noisy(x, key):
        return logits_fn(x + 0.02 * jax.random.normal(key, x.shape))

    result = attacks.autoattack(noisy, x[:8], y[:8], KEY, radius=0.1, version="rand", batch_size=8, steps=5)
    assert result.success.any()
