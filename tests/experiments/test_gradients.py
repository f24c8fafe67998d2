"""The study of the gradients of R and the loss: what it derives of them, its table, and bad input."""

import dataclasses

import numpy as np
import pytest
from smoke_run import FEW

from dsrna_jax.commands.presets import SMOKE
from dsrna_jax.commands.process import status
from experiments.studies import gradients
from experiments.studies.gradients import Gradients
from experiments.studies.question.rank import batch_of, supernet


def test_the_table_has_the_ratio_of_lengths_the_agreement_and_the_means_over_edges():
    primitives = dataclasses.replace(SMOKE, space="robnet", gamma=0.5)
    by_loss = {"normal": np.array([[3.0, 0, 0], [0, 4.0, 0]])}  # of length 5
    by_r = {"normal": np.array([[0.0, 0, 0], [0, -2.0, 0]])}
    text = gradients.tables(primitives, {"R": Gradients(-1.5, by_loss, by_r)})
    assert "| R | -1.5 | 0.2 | +0.80 |" in text  # 0.5 * 2 / 5 and 8 / (2 * 5)
    assert "| none | -0.300 | +0.000 |" in text and "| skip_connect | -0.400 | -0.500 |" in text


def test_variants_are_those_that_fit_the_search():
    names = gradients.variants(dataclasses.replace(SMOKE, metric="certified", certificate="radius", metric_network="derived"))
    assert [*names] == ["R", "R at the derived cells"] and names["R"].metric_network == "supernet"


def test_bad_input_is_one_line(tmp_path, capsys):
    for arguments, expected in ((["--preset=pcdarts"], "a search with R"), (["--batches=0"], "batches=0"), (
        [f"--run_dir={tmp_path}"], "is a folder without config.json")):  # fmt: skip
        assert status(gradients.main, ["gradients", *arguments]) == 1
        err = capsys.readouterr().err
        assert expected in err and err.count("\n") == 1


@pytest.mark.slow
def test_the_gradients_are_those_that_the_alphas_of_a_search_follow():
    """The gradient of loss - gamma * R is what the optimiser of the alphas gets in a step."""
    import jax

    small = dataclasses.replace(SMOKE, warmup_epochs=0, jacobian_method="exact", alpha_decay=0.0, operations=FEW)
    setup, state = supernet(small, 1)
    found = gradients.gradients(setup, state, setup.config, 1)
    batch = batch_of(setup, "search_val", 0)
    after, _ = jax.jit(setup.functions.alpha_step)(state, batch, batch, jax.random.key(0))
    for group, moment in after.alpha_optimizer[1].mu.items():
        expected = found.by_loss[group] - setup.config.gamma * found.by_r[group]
        np.testing.assert_allclose(moment / 0.5, expected, rtol=1e-3, atol=1e-6)
