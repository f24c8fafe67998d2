"""The rules of DARTS+: skip connections in the normal cell, and a ranking of the operations that no longer changes."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.genotypes.genotype import Genotype
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.runtime import records
from dsrna_jax.search import stopping

SKIP, CONVOLUTION = ("skip_connect", 0), ("sep_conv_3x3", 1)


def genotype(normal, reduction):
    return Genotype(tuple(normal), (2,), tuple(reduction), (2,))


def test_the_ranking_is_that_of_the_operations_with_weights():
    alphas = {"normal": np.array([[9, 8, 7, 6, 1, 4, 2, 3.0]]), "reduction": np.array([[0, 0, 0, 0, 0, 0, 0, 0.0]])}
    assert stopping.ranking(alphas, PRIMITIVES) == [[5, 7, 6, 4], [4, 5, 6, 7]]
    louder = alphas | {"normal": alphas["normal"] + np.array([[5, -9, 3, 30, 0, 0, 0, 0]])}
    assert stopping.ranking(louder, PRIMITIVES) == stopping.ranking(alphas, PRIMITIVES)


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


@pytest.mark.slow
def test_a_search_that_stops_early_ends_the_same_when_it_was_stopped_before(tmp_path, monkeypatch):
    """The alphas barely move, so the ranking is stable; warm-up epochs, in which it must be, do not count."""
    import dataclasses
    import os
    import signal

    from smoke_run import assert_same_end, at_step

    from dsrna_jax.runtime.signals import Stopped
    from dsrna_jax.search.run import run

    config = dataclasses.replace(PRESETS["smoke"], epochs=9, warmup_epochs=3, alpha_lr=1e-9, alpha_decay=0.0, stop_stable=2)
    said = io.StringIO()
    run(config, tmp_path / "whole", devices=1, file=said)
    assert "the search stops after epoch 6: the ranking of the operations has not changed for 2 epochs" in said.getvalue()
    assert [row["epoch"] for row in records.rows(tmp_path / "whole" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 22, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    assert_same_end(tmp_path / "run", tmp_path / "whole")
