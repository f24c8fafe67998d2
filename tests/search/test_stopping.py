"""The rules of DARTS+ (skip connections, and a ranking of the operations that rests) and of DARTS-ES (a rising eigenvalue)."""

import dataclasses
import io
import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from smoke_run import SMOKE, assert_same_end, at_step

from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.genotypes.operations import OPERATIONS, PRIMITIVES
from dsrna_jax.networks.families import family_of
from dsrna_jax.runtime import records
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search import stopping
from dsrna_jax.search.collapse import collapse_note
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.run import run

SKIP, CONVOLUTION = ("skip_connect", 0), ("sep_conv_3x3", 1)


def genotype(normal, reduction):
    return Genotype(tuple(normal), (2,), tuple(reduction), (2,))


def test_the_ranking_is_that_of_the_operations_with_weights():
    alphas = {"normal": np.array([[9, 8, 7, 6, 1, 4, 2, 3.0]]), "reduction": np.array([[0, 0, 0, 0, 0, 0, 0, 0.0]])}
    assert stopping.ranking(alphas, PRIMITIVES) == [[5, 7, 6, 4], [4, 5, 6, 7]]
    louder = alphas | {"normal": alphas["normal"] + np.array([[5, -9, 3, 30, 0, 0, 0, 0]])}
    assert stopping.ranking(louder, PRIMITIVES) == stopping.ranking(alphas, PRIMITIVES)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_that_learn_are_those_that_multiply_where_maps_keep_their_size(name):
    family = family_of(name)
    assert family.is_learnable == (family.multiply_adds(OPERATIONS[name], 4, 4, (8, 8), (8, 8), 1) > 0)


@given(st.lists(st.integers(0, 2), max_size=12))
def test_epochs_are_counted_since_the_last_change(kinds):
    rankings = [[[kind]] for kind in kinds]
    changes = [i for i in range(1, len(kinds)) if kinds[i] != kinds[i - 1]]
    assert stopping.unchanged_epochs(rankings) == max(0, len(kinds) - 1 - (changes[-1] if changes else 0))


@pytest.mark.parametrize(
    ("normal", "reduction", "rankings", "expected"),
    [
        ([SKIP, SKIP], [CONVOLUTION] * 2, [], "the normal cell has 2 skip connections"),
        ([SKIP, CONVOLUTION], [SKIP, SKIP], [], None),
        ([CONVOLUTION] * 2, [CONVOLUTION] * 2, [1, 2, 2, 2, 2], "the ranking of the operations has not changed for 3 epochs"),
        ([CONVOLUTION] * 2, [CONVOLUTION] * 2, [1, 2, 2, 2], None),
    ],
)
def test_a_search_stops_by_either_rule(normal, reduction, rankings, expected):
    history = [[[kind]] for kind in rankings]
    found = genotype(normal, reduction)
    assert stopping.reason(found, history, skips=2, stable=3) == expected
    assert stopping.reason(found, history, skips=0, stable=0) is None


def published_stop(eigenvalues, every, ratio, first):
    """`EVLocalAvg` of RobustDARTS, src/search/utils.py: the epoch whose genotype is returned, at the first epoch that stops."""
    means, centres = [], []
    for number, (epoch, _) in enumerate(eigenvalues):
        if number < 4:
            continue
        means.append(np.mean([value for _, value in eigenvalues[number - 4 : number + 1]]))
        centres.append(epoch - every * 2)
        if len(means) > 4 and centres[-1] - every * 4 >= first and means[-1] / means[-5] > ratio:
            return number, centres[-1] - every * 4
    return None


@given(st.lists(st.floats(0.01, 1), max_size=40), st.integers(1, 3), st.integers(1, 12))
def test_darts_es_stops_and_returns_as_the_published_code_does(values, every, first):
    measured = [(every * (i + 1), value) for i, value in enumerate(values)]
    ours = [(i, rise.epoch) for i in range(len(measured)) if (rise := stopping.rise(measured[: i + 1], 1.3, first))]
    assert (ours[0] if ours else None) == published_stop(measured, every, 1.3, first)


def test_a_rise_by_hand():
    """Means of 1 and then of 2: five measurements at 1, the last four at 2.25."""
    measured = [(2 * i, 1.0 if i <= 5 else 2.25) for i in range(1, 10)]
    assert stopping.rise(measured, 1.3, first=6) == (6, 2.0)
    assert stopping.rise(measured, 2.0, first=6) is stopping.rise(measured, 1.3, first=7) is None
    assert stopping.rise(measured[1:], 1.3, first=1) is None
    assert stopping.rise([(epoch, -value) for epoch, value in measured], 1.3, first=1) is None


def test_an_early_stop_without_eigenvalues_is_refused():
    with pytest.raises(InputError, match=r"^stop_eigenvalue=1.3 needs eigenvalues: expected eigenvalue_every of at least 1"):
        SearchConfig(stop_eigenvalue=1.3, eigenvalue_every=0)


EARLY = {
    "ranking": (
        {"warmup_epochs": 3, "alpha_lr": 1e-9, "alpha_decay": 0.0, "stop_stable": 2},
        6, "the search stops after epoch 6: the ranking of the operations has not changed for 2 epochs", 6,
    ),
    "eigenvalue": (
        {
            "warmup_epochs": 0, "alpha_lr": 0.3, "eigenvalue_every": 1, "stop_eigenvalue": 1e-9, "stop_eigenvalue_from": 3,
            "operations": "",  # of all, some eigenvalue is positive
        },
        9, "the search stops after epoch 9: the dominant eigenvalue has risen by ", 3,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("rule", EARLY)
def test_a_search_that_stops_early_ends_the_same_when_it_was_stopped_before(tmp_path, monkeypatch, rule):
    """The alphas barely move, so the ranking is stable, and warm-up epochs do not count; or any eigenvalue is a rise."""
    changes, last, said_in_the_end, kept = EARLY[rule]
    config = dataclasses.replace(SMOKE, metric="none", epochs=12, **changes)
    said = io.StringIO()
    found = run(config, tmp_path / "whole", devices=1, file=said)
    assert said_in_the_end in said.getvalue()
    assert [row["epoch"] for row in records.rows(tmp_path / "whole" / "metrics.jsonl")] == [*range(1, last + 1)]
    assert found == genotypes.load(tmp_path / "whole" / "genotype.json")
    assert found == genotypes.load(tmp_path / "whole" / "genotypes" / f"epoch_{kept:03}.json")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 5 * last - 8, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    assert_same_end(tmp_path / "run", tmp_path / "whole")
    before = (tmp_path / "run" / "curves.png").read_bytes()
    run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    assert_same_end(tmp_path / "run", tmp_path / "whole")
    assert (tmp_path / "run" / "curves.png").read_bytes() == before


@pytest.mark.parametrize(
    ("skips", "genes", "is_said"), [(2, 8, False), (3, 8, True), (1, 2, False), (2, 2, True), (2, 4, False), (0, 2, False)]
)
def test_a_word_on_collapse_is_said_when_skip_connections_pile_up(skips, genes, is_said):
    normal = tuple(("skip_connect" if i < skips else "sep_conv_3x3", i % 2) for i in range(genes))
    every = tuple(range(2, 2 + genes // 2))
    genotype = Genotype(normal, every, normal, every)
    assert (collapse_note(genotype, []) is not None) == is_said


def test_the_word_on_collapse_has_the_eigenvalues_where_they_are_known():
    cell = (("skip_connect", 0), ("skip_connect", 1))
    rows = [{"epoch": 1, "eigenvalue": 0.5}, {"epoch": 2, "eigenvalue": None}, {"epoch": 3, "eigenvalue": 1.25}]
    said, unknown = (collapse_note(Genotype(cell, (2,), cell, (2,)), some) for some in (rows, rows[:1]))
    assert "was 0.5 after epoch 1 and is 1.25 after epoch 3" in said and "--eigenvalue_every=2" in unknown
