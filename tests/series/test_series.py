"""Series of searches: P-DARTS with one stage is DARTS; a series that was stopped ends as one that was not."""

import dataclasses
import io
import json
import os
import signal

import numpy as np
import pytest
from smoke_run import assert_same_end, at_step

from dsrna_jax import genotypes
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import CELL_TYPES, skip_count
from dsrna_jax.genotypes.kept_operations import kept_of
from dsrna_jax.runtime import records
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search import run as search_run
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.series import folder
from dsrna_jax.series.members import Member, MemberOutcome, members
from dsrna_jax.series.run import run
from dsrna_jax.training.config import TrainingConfig

SMALL = dataclasses.replace(PRESETS["smoke"], space="darts", metric="none", channels=2, epochs=2)
CELL = (("sep_conv_3x3", 0), ("skip_connect", 1))
FOUND = genotypes.Genotype(CELL, (2,), CELL, (2,))


def random_alphas(seed):
    generator = np.random.default_rng(seed)
    return {kind: generator.normal(size=(2, 8)).tolist() for kind in CELL_TYPES}


def test_stages_hand_the_strongest_operations_on_and_start_anew():
    """They differ in nothing else, and keep R."""
    one = dataclasses.replace(SMALL, metric="jacobian", most_skips=1)
    series = members(dataclasses.replace(one, stages="3:8:0,4:5:0.4,7:3:0.7"))
    first, alphas = next(series), [random_alphas(seed) for seed in range(3)]
    second = series.send(MemberOutcome(FOUND, alphas[0], {}))
    third = series.send(MemberOutcome(FOUND, alphas[1], {}))
    own = {"cells": 4, "skip_dropout": 0.4}, {"cells": 7, "skip_dropout": 0.7}
    for member, changes in zip((first, second, third), ({}, *own), strict=True):
        assert member.config == dataclasses.replace(one, operations=member.config.operations, **changes)
    assert not first.config.operations
    five, three = (kept_of(member.config.operations, 1, SMALL.primitives) for member in (second, third))
    for kind in CELL_TYPES:
        rows = np.array(alphas[0][kind])
        assert (rows[five[kind]].reshape(2, 5).min(1) > np.where(five[kind], -np.inf, rows).max(1)).all()
        assert (three[kind].sum(1) == 3).all() and (three[kind] <= five[kind]).all()
    with pytest.raises(StopIteration) as end:
        series.send(MemberOutcome("the last", alphas[2], {}))
    assert end.value.value == "the last" and [m.name for m in (first, second, third)] == ["stage_1", "stage_2", "stage_3"]


def test_the_curves_of_a_series_are_marked_where_a_stage_begins(tmp_path):
    """And joined nowhere: a row between two stages has no number."""
    stages = [Member(f"stage_{number}", "", SMALL) for number in (1, 2, 3)]
    for member in stages:
        (tmp_path / member.name).mkdir()
        (tmp_path / member.name / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
        (tmp_path / member.name / "alphas.jsonl").write_text("")
    story = folder._story(folder.SeriesFolder(tmp_path), stages)
    assert story.marks == {2.5: "stage 2 begins", 4.5: "stage 3 begins"}
    assert [row["epoch"] for row in story.rows] == [1, 2, 2.5, 3, 4, 4.5, 5, 6]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"stages": "3:8:0,4:5"}, "stages has '4:5': expected cells:operations:skip_dropout"),
        ({"stages": "3:8:0,4:x:0"}, "stages has '4:x:0'"),
        ({"stages": "3:8:0,4:5:nan"}, "stages has '4:5:nan'"),
        ({"stages": "3:8:0,2:5:0"}, "expected 3 to 200 cells"),
        ({"stages": "3:8:0,4:5:1"}, "dropout of identities in"),
        ({"stages": "3:5:0"}, "stages begin with 5 operations: expected 8, all of space=darts"),
        ({"stages": "3:8:0,4:3:0,5:4:0"}, "stages have 4 operations after 3: expected no more than before"),
        ({"stages": "3:8:0,4:1:0"}, "expected at least 2, of which a search chooses"),
        ({"stages": "3:8:0", "warmup_epochs": 2}, "stages with warmup_epochs=2 of epochs=2: expected fewer"),
        ({"stages": "3:8:0", "weight_decays": "1,2"}, "stages and weight_decays are kinds of series"),
        ({"stages": "3:8:0", "strategy": "random", "children": 4}, "strategy='random' is no search of a series"),
        ({"adapt_factor": 10.0, "weight_decays": "1,2"}, "weight_decays and adapt_factor are kinds of series"),
        ({"adapt_factor": 10.0}, "expected stop_eigenvalue, as 1.3"),
        ({"adapt_factor": 1.0, "stop_eigenvalue": 1.3, "eigenvalue_every": 1}, "expected more than 1"),
        ({"weight_decays": "3e-4"}, "weight_decays='3e-4': expected two or more different numbers"),
        ({"weight_decays": "3e-4,-1"}, "expected two or more different numbers"),
        ({"weight_decays": "3e-4,many"}, "expected two or more different numbers"),
    ],
)
def test_series_that_do_not_go_together_are_refused_in_one_line(changes, expected):
    with pytest.raises(InputError) as error:
        dataclasses.replace(SMALL, **changes)
    assert expected in str(error.value) and "\n" not in str(error.value)


@pytest.mark.slow
def test_one_stage_with_all_operations_is_darts_bit_for_bit(tmp_path):
    config = dataclasses.replace(SMALL, stages="3:8:0")
    found = run(config, tmp_path / "series", devices=1, file=io.StringIO())
    assert found == search_run.run(SMALL, tmp_path / "darts", devices=1, file=io.StringIO())
    assert_same_end(tmp_path / "series" / "stage_1", tmp_path / "darts")
    assert genotypes.load(tmp_path / "series" / "genotype.json") == found


SERIES = {
    "pdarts": {"stages": "3:8:0,4:3:0.4", "most_skips": 0, "alpha_lr": 0.1},
    "rdarts": {"weight_decays": "3e-4,0.1", "retrain_epochs": 2, "retrain_cells": 3, "retrain_channels": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SERIES)
def test_a_series_that_was_stopped_in_a_later_member_ends_as_one_that_was_not(tmp_path, monkeypatch, kind):
    config, said = dataclasses.replace(SMALL, **SERIES[kind]), io.StringIO()
    found = run(config, tmp_path / "whole", devices=1, file=said)
    steps = []

    def stop(loop):
        steps.append(loop.step)
        if len(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 3, stop)
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    with pytest.raises(InputError, match="already holds a run"):
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    resumed = io.StringIO()
    assert run(config, tmp_path / "run", resume=True, devices=1, file=resumed) == found
    assert said.getvalue().count("ready after") == resumed.getvalue().count("ready after") + {"pdarts": 1, "rdarts": 2}[kind]
    for member in (path for path in (tmp_path / "whole").iterdir() if path.is_dir()):
        if (member / "alphas.jsonl").exists():
            assert_same_end(tmp_path / "run" / member.name, member)
    for name in ("metrics.jsonl", "alphas.jsonl", "genotype.json", "members.json", "config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    rows = records.rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["epoch"] for row in rows] == [1, 2, 1, 2] and rows[-1]["member"] != rows[0]["member"]
    assert (tmp_path / "run" / "curves.png").exists() and genotypes.load(tmp_path / "run" / "genotype.json") == found
    with pytest.raises(InputError, match="another configuration"):
        run(dataclasses.replace(config, seed=1), tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    if kind == "pdarts":
        second = json.loads((tmp_path / "run" / "stage_2" / "config.json").read_text())["config"]
        kept = kept_of(second["operations"], 1, SMALL.primitives)
        assert all((rows.sum(1) == 3).all() for rows in kept.values()) and skip_count(found) == 0
    else:
        trained = [records.rows(tmp_path / "run" / f"training_{i}" / "metrics.jsonl") for i in (1, 2)]
        best = [max(row["val_accuracy"] for row in rows) for rows in trained]
        chosen = 1 + int(best[1] > best[0])
        assert best[0] == best[1] or found == genotypes.load(tmp_path / "run" / f"search_{chosen}" / "genotype.json")


def test_where_the_eigenvalue_rises_the_next_search_goes_on_with_a_larger_weight_decay():
    one = dataclasses.replace(SMALL, metric="jacobian", eigenvalue_every=1, stop_eigenvalue=1.3, weight_decay=2e-3)
    config = dataclasses.replace(one, adapt_factor=10.0)
    series, found = members(config), []
    member = next(series)
    with pytest.raises(StopIteration) as end:
        for rise in (7, 9, 12):
            assert member.config == dataclasses.replace(one, weight_decay=member.config.weight_decay)
            found.append((member.name, member.config.weight_decay, member.start))
            member = series.send(MemberOutcome(f"cell of {member.name}", None, {}, rise))
    assert found == [("search_1", 2e-3, None), ("search_2", 0.02, ("search_1", 7)), ("search_3", 0.03, ("search_2", 9))]
    assert end.value.value == "cell of search_3"  # 0.03 is the largest
    series = members(config)
    next(series)
    with pytest.raises(StopIteration, match="the cell"):
        series.send(MemberOutcome("the cell", None, {}, None))


@pytest.mark.slow
def test_an_adaptive_search_goes_on_from_the_state_of_an_earlier_epoch_and_resumes(tmp_path, monkeypatch):
    """The ratio is exceeded as soon as there are nine eigenvalues: after epoch 10, and the cells are those of epoch 4."""
    config = dataclasses.replace(
        SMALL, adapt_factor=10.0, adapt_most=2e-3, eigenvalue_every=1, stop_eigenvalue=1e-6, stop_eigenvalue_from=1, epochs=12
    )
    found = run(config, tmp_path / "whole", devices=1, file=io.StringIO())
    first, second = (tmp_path / "whole" / f"search_{number}" for number in (1, 2))
    assert json.loads((second / "config.json").read_text())["config"]["weight_decay"] == 2e-3
    rows, others = (records.rows(path / "metrics.jsonl") for path in (first, second))
    assert len(rows) == 10 and rows[:4] == others[:4] and rows[4]["train_loss"] != others[4]["train_loss"]
    gathered = records.rows(tmp_path / "whole" / "metrics.jsonl")
    assert [row["epoch"] for row in gathered] == [*range(1, 11), *range(5, 11)]
    assert found == genotypes.load(second / "genotypes" / "epoch_004.json")

    def stop(loop):
        if loop.config.weight_decay == 2e-3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, rows[5]["step"] + 1, stop)
        run(config, tmp_path / "run", devices=1, file=io.StringIO())
    assert run(config, tmp_path / "run", resume=True, devices=1, file=io.StringIO()) == found
    assert_same_end(tmp_path / "run" / "search_2", second)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_cells_are_judged_by_a_training_on_the_images_of_the_search():
    one = dataclasses.replace(SMALL, metric="jacobian", flip=True, seed=3)
    series = members(dataclasses.replace(one, weight_decays="3e-4,9e-4,27e-4"))
    member, rows = next(series), iter([(0.5, 1.0), (0.9, 2.0), (0.9, 1.5)])
    decays = []
    try:
        while True:
            if isinstance(member.config, TrainingConfig):
                assert member.config.flip and member.config.seed == 3 and member.config.adversarial == "none"
                accuracy, loss = next(rows)
                outcome = MemberOutcome(None, None, {"val_accuracy": accuracy, "val_loss": loss})
            else:
                decays.append(member.config.weight_decay)
                assert member.config == dataclasses.replace(one, weight_decay=decays[-1])
                outcome = MemberOutcome(member.name, None, {})
            member = series.send(outcome)
    except StopIteration as end:
        assert end.value == "search_3" and decays == [3e-4, 9e-4, 27e-4]


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (
            "--stages=3:8:0,4:3:0.4",
            ["stage 1 of 2: 3 cells, 8 operations an edge", "stage 2 of 2: 4 cells, 3 operations an edge"],
        ),
        (
            "--weight_decays=3e-4,9e-4",
            [
                "search 1 of 2: weight decay 0.0003",
                "training of its cell on search_train: weight decay 0.0003",
                "search 2 of 2: weight decay 0.0009",
                "training of its cell on search_train: weight decay 0.0009",
            ],
        ),
    ],
)
def test_a_plan_describes_every_member_of_a_series(series, expected, capsys):
    from dsrna_jax.commands import search
    from dsrna_jax.commands.process import status

    flags = ["--preset=smoke", "--space=darts", "--metric=none", "--channels=2", series, "--dry_run"]
    assert status(search.main, ["search", *flags]) == 0
    described, _, reports = capsys.readouterr().out.partition("\n}\n")
    assert json.loads(described + "}")["config"][series[2:].partition("=")[0]] == series.partition("=")[2]
    lines = reports.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == expected
    following = [lines[lines.index(heading) + 1] for heading in expected]
    assert all(line.startswith("  weights: ") or line == f"  as {expected[i % 2]}" for i, line in enumerate(following))
    assert SearchConfig(space="darts", stages="3:8:0").is_series and not SearchConfig().is_series
