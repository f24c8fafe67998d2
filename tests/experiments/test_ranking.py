"""The ranking of certificates: rank correlations, and finished networks are not trained again."""

import json
import re

import numpy as np
import pytest
from garbled import assert_garbled_is_refused_or_makes_no_difference

from dsrna_jax.commands.process import status
from experiments.studies import ranking


@pytest.fixture
def finished(tmp_path):
    """A folder in which four networks have been measured; `cell` orders them as CROWN does, `margin` the other way round."""
    for seed, radius in enumerate((0.03, 0.01, 0.02, 0.04)):
        folder = tmp_path / f"random_{seed}"
        folder.mkdir()
        row = {"accuracy": 0.9 + seed / 100, "cell@0.03": radius**3, "margin@0.03": -radius, "crown_radius": radius}
        (folder / "ranking.json").write_text(json.dumps(row))
    return tmp_path


def test_the_table_has_the_rank_correlations_of_measured_networks(finished, capsys):
    assert status(ranking.main, ["ranking", "--networks=4", f"--run_dir={finished}"]) == 0
    out = capsys.readouterr().out
    for line in (
        "| of 4 networks |",
        "| accuracy | 0.40 |",
        "| cell@0.03 | 1.00 | 1.00 to 1.00 |",
        "| margin@0.03 | -1.00 | -1.00 to -1.00 |",
    ):
        assert line in out
    assert "CROWN radius 0.0250 on average, 0.0100 to 0.0400; accuracy 90% to 93%" in out
    assert len(list(finished.iterdir())) == 4  # no network was trained


def test_a_garbled_result_is_refused_by_name(finished):
    file = finished / "random_0" / "ranking.json"

    def is_allowed(done):  # a figure that could not be measured, and those of another version
        return done.endswith(("left out", "=None")) or done == "is no fields"

    assert_garbled_is_refused_or_makes_no_difference(
        file, lambda: ranking.row("random:0", file.parent, 8), named="ranking.json", allowed=is_allowed
    )


def test_too_few_networks_to_rank_are_refused(tmp_path, capsys):
    assert status(ranking.main, ["ranking", "--networks=2", f"--run_dir={tmp_path}"]) == 1
    assert "networks=2" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trained_network_has_a_result_by_every_certificate(trained_run):
    results = ranking.certified(trained_run, 2)
    assert set(results) == {
        "accuracy",
        "crown_radius",
        *(f"{c}@{r:g}" for c in ("cell", "margin", "radius") for r in ranking.RADII),
    }
    assert 0 < results["crown_radius"] < 0.5 and results["accuracy"] > 0.5
    assert results["cell@0.03"] < 0


def test_intervals_hold_the_correlation_and_narrow_with_more_networks():
    random = np.random.default_rng(0)

    def interval(count):
        radii = random.uniform(0.001, 0.01, count)
        rows = [{"cell": radius + random.normal(0, 0.002), "crown_radius": radius} for radius in radii]
        (found,) = re.findall(r"\| cell \| (\S+) \| (\S+) to (\S+) \|", ranking.correlations(rows))
        correlation, low, high = map(float, found)
        assert low < correlation < high <= 1
        return high - low

    assert interval(200) < 0.5 * interval(20)
