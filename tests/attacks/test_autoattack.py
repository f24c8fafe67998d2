"""Series of attacks and AutoAttack: the worst case counts, whatever the batches, and nothing is compiled twice."""

import functools

import jax
import numpy as np
from jax.tree_util import Partial
from small_network import IMAGES, LABELS, WEIGHTS, logits_fn, network

from dsrna_jax import attacks
from dsrna_jax.attacks import series
from dsrna_jax.attacks.autoattack import stages
from dsrna_jax.attacks.predictions import compiled_logits

KEY = jax.random.key(5)
BUDGET = {"steps": 10, "queries": 50, "targets": 3}
images, labels = IMAGES[:20], LABELS[:20]
compiled = jax.jit(logits_fn)


@functools.cache
def attacked(batch_size=8, order=None, radius=0.07, factor=1.0):
    order = slice(None) if order is None else list(order)
    weights = jax.tree.map(lambda w: factor * w, WEIGHTS)
    options = {"radius": radius, "norm": "linf", "batch_size": batch_size, **BUDGET}
    return attacks.autoattack(Partial(network, weights), images[order], labels[order], KEY, **options)


def test_robust_examples_are_those_that_withstand_every_member():
    """Each member on all examples, not only on those that are still robust."""
    fooled = np.asarray(compiled(images)).argmax(1) != labels
    for stage in stages("standard", **BUDGET):
        keys = attacks.example_keys(series.stage_key(KEY, stage), 20)
        for run in range(stage.runs):
            options = {"radius": np.float32(0.07), "stage": stage, "norm": "linf"}
            member = series.stage_result(Partial(network, WEIGHTS), images, labels, keys, run, **options)
            assert not (np.asarray(member.success) & ~attacked().success).any()
            fooled |= np.asarray(member.success)
    np.testing.assert_array_equal(attacked().success, fooled)
    assert 0.2 < fooled.mean() < 0.95


def test_results_are_confirmed_by_a_forward_pass():
    size = np.abs(attacked().x_adv - images).max((1, 2, 3))
    assert (size <= 0.07 + 1e-6).all() and (attacked().x_adv >= 0).all() and (attacked().x_adv <= 1).all()
    np.testing.assert_array_equal(np.asarray(compiled(attacked().x_adv)).argmax(1) != labels, attacked().success)
    np.testing.assert_allclose(attacked().distance, size, atol=1e-6)
    wrong = np.asarray(compiled(images)).argmax(1) != labels
    np.testing.assert_array_equal(attacked().x_adv[wrong], images[wrong])
    # Whoever is still robust has met every member.
    assert (attacked().steps[~attacked().success] > 11 + 3 * 11 + 3 * 10 + 50 - 1).all()


def test_results_do_not_depend_on_the_batch_size():
    other = attacked(batch_size=7)
    np.testing.assert_array_equal(other.success, attacked().success)
    np.testing.assert_array_equal(other.steps, attacked().steps)
    np.testing.assert_allclose(other.x_adv, attacked().x_adv, atol=2e-3)


def test_another_radius_or_checkpoint_compiles_nothing():
    attacked()
    programs = (series.stage_result._cache_size(), compiled_logits._cache_size())
    assert attacked(radius=0.03).success.mean() < attacked().success.mean()
    attacked(factor=1.1)
    assert (series.stage_result._cache_size(), compiled_logits._cache_size()) == programs


def test_a_closure_whose_weights_have_changed_is_attacked_as_it_is_now():
    """A compiled program of its first weights would call every image robust."""
    current = [WEIGHTS]
    closure = lambda x: network(current[0], x)  # noqa: E731
    labels = np.asarray(compiled(images)).argmax(1)[:4]
    for factor, success in ((1.0, 0.0), (-1.0, 1.0)):
        current[0] = jax.tree.map(lambda w, factor=factor: factor * w, WEIGHTS)
        result = attacks.autoattack(closure, images[:4], labels, KEY, radius=1e-6, batch_size=4, **BUDGET)
        assert result.success.mean() == success


def test_a_series_skips_completed_batches():
    settings = {"radius": 0.07, "norm": "linf", "batch_size": 16}
    clean = np.asarray(compiled(images)).argmax(1) == labels
    network_of = Partial(network, WEIGHTS)

    def run(completed):
        options = {"stages": stages("standard", **BUDGET), "robust": clean, "completed": completed}
        return list(series.run_series(network_of, images, labels, KEY, **options, **settings))

    whole = run({})
    done, numbers = {}, {}
    for batch in whole[:5]:
        number = numbers[batch.stage, batch.run] = numbers.get((batch.stage, batch.run), -1) + 1
        done[batch.stage, batch.run, number] = batch.indices[batch.result.success]
    rest = run(done)
    assert [(b.stage, b.run, b.indices.tolist()) for b in rest] == [(b.stage, b.run, b.indices.tolist()) for b in whole[5:]]
    for one, other in zip(rest, whole[5:], strict=True):
        np.testing.assert_array_equal(one.fallen, other.fallen)


def test_versions_have_the_published_members():
    names = {version: [(s.name, s.runs) for s in stages(version)] for version in ("standard", "plus", "rand")}
    assert names["standard"] == [("apgd-ce", 1), ("apgd-t", 9), ("fab-t", 9), ("square", 1)]
    assert [name for name, _ in names["plus"]] == ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
    assert dict(names["plus"])["apgd-ce"] == 5 and dict(stages("plus")[2].options)["restarts"] == 5
    assert [(s.name, dict(s.options)["draws"]) for s in stages("rand")] == [("apgd-ce", 20), ("apgd-dlr", 20)]


def test_the_version_rand_attacks_stochastic_networks():
    def noisy(images, key):
        return logits_fn(images + 0.02 * jax.random.normal(key, images.shape))

    result = attacks.autoattack(noisy, images[:8], labels[:8], KEY, radius=0.1, version="rand", batch_size=8, steps=5)
    assert result.success.any()
