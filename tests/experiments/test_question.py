"""The experiment on R: protocols, pairs, what is not run again, the choice of gamma, the page."""

import dataclasses
import json
import math
import shutil

import pytest
from question_rows import MATCHES, SMOKE, network

from dsrna_jax import __version__, genotypes
from dsrna_jax.commands.process import status
from dsrna_jax.commands.reproduce import resolved
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.reproduction.graph import RESULTS
from dsrna_jax.sweeps.worker import JobState, record
from experiments import question
from experiments.studies.question import command, page, rank, stages
from experiments.studies.question import rows as files
from experiments.studies.question.experiment import Experiment
from experiments.studies.question.matching import matched
from experiments.studies.question.protocol import METHODS, PAPER, RANK, VARIANTS, names, protocol
from experiments.studies.question.rows import Rows


@pytest.mark.parametrize("name", names())
def test_a_protocol_is_whole(name):
    own = protocol(name)
    assert set(own.methods) <= set(METHODS) - {RANK} and {"gamma_0", "random"} < set(own.methods) and own.kinds
    assert own.random_cells >= len(own.kinds) * own.search_seeds and own.draws > own.random_cells
    if name != "smoke":
        assert set(own.methods) >= set(METHODS) - {RANK, *VARIANTS} and own.random_cells >= 8 and own.rank_cells >= 40
        assert sorted(own.trainings) == ["adversarial", "standard"] and (own.search_seeds, own.training_seeds) == (3, 2)
        assert len(own.gammas) >= 3 and own.section.flags["attack"]["tier"] == "standard"


@pytest.mark.parametrize("name", names())
def test_every_run_is_a_valid_command_with_a_cost(name, tmp_path, capsys):
    assert status(question.main, ["question", f"--protocol={name}", f"--out={tmp_path / 'q'}", "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert "about" in out and not (tmp_path / "q").exists()  # each configuration was made by its command


def test_a_protocol_may_list_variants_of_r(tmp_path):
    """Each is the search of its method but for one option, with a gamma of its own."""
    own = SMOKE._replace(methods=(*PAPER, *VARIANTS, "gamma_0", "random"))
    found = stages.cell_stage(own, {name: index / 100 for index, name in enumerate(own.kinds, 1)}, {}, ()).nodes
    configs = {name: resolved(found[f"search/{name}-0"]) for name in own.kinds}
    assert len({config.gamma for config in configs.values()}) == len(own.kinds) == 10
    for name, (_, of, flags) in VARIANTS.items():
        same = dataclasses.replace(configs[of], gamma=configs[name].gamma)
        assert configs[name] == dataclasses.replace(same, **flags) != same
    assert {stages.gamma_name(name, 0.01, 0) + "/search" for name in VARIANTS} < {
        *stages.gamma_stage(own, tmp_path, {}, ()).nodes
    }


@pytest.mark.parametrize("name", names())
def test_gamma_is_chosen_by_searches_and_trainings_of_other_seeds_than_those_of_the_experiment(name, tmp_path):
    own = protocol(name)
    chosen = stages.gamma_stage(own, tmp_path, {}, ()).nodes.values()
    searches = stages.cell_stage(own, dict.fromkeys(own.kinds, 0.1), {}, ()).nodes.values()
    trainings = [node for node in stages.network_stage(own, tmp_path, {}, ()).nodes.values() if node.command == "train"]
    assert not {node.flags["seed"] for node in chosen} & {node.flags["seed"] for node in [*searches, *trainings]}


def test_random_cells_have_the_nearest_number_of_weights_each_once():
    drawn = {0: 100, 1: 205, 2: 195, 3: 400}
    found = matched(drawn, {"a": 200, "b": 100}, 3)
    assert [(m.draw, m.to) for m in found] == [(1, "a"), (0, "b"), (2, "a")]
    with pytest.raises(ValueError, match="4 draws, of which 5"):
        matched(drawn, {"a": 1}, 5)


@pytest.mark.parametrize("has_edges", [False, True])
def test_a_cell_is_the_one_that_is_derived_of_its_alphas(has_edges):
    cell = zoo.random(3, 3)
    alphas = rank.alphas_of(cell, genotypes.PRIMITIVES, has_edges)
    derived = genotypes.derive(alphas)
    assert {kind: sorted(derived.genes(kind)) for kind in cell.groups} == {kind: sorted(cell.genes(kind)) for kind in cell.groups}
    chosen = [edges.max(axis=1) for edges in (alphas["normal"], alphas["reduction"])]
    assert all((row == chosen[0][0]).all() for row in chosen)


def test_pairs_are_of_one_seed_or_of_as_many_weights_and_means_over_trainings():
    rows = [network("dsrna_jacobian", i, 0.5 + i / 10, seed=seed) for i in range(2) for seed in range(2)]
    rows += [network("gamma_0", i, 0.4 + i / 5) for i in range(2)] + [network("random", i, 0.3 + 0.2 * i) for i in range(2)]
    rows.append(network("dsrna_jacobian", 0, 0.7, seed=2))  # the mean of the first cell is 56.7 %
    rows.append(network("rank", 0, 0.1))
    found = {(c.control, c.measure): c for c in page.comparisons(SMOKE, rows, MATCHES)}
    assert len(found) == 4
    one = found["γ = 0 of the same search", "accuracy under attack [%], standard training"]
    assert one.pairs == 2 and one.difference == pytest.approx((56.6667 - 40 + 60 - 60) / 2, abs=1e-3)
    random = found["random cells of as many weights", "accuracy under attack [%], standard training"]
    assert random.difference == pytest.approx((56.6667 - 30 + 60 - 50) / 2, abs=1e-3)


def test_the_page_says_the_answer_and_how_far_the_experiment_is():
    rows = [network(method, i, 0.5) for method in SMOKE.methods for i in range(2)]
    gammas = [{"kind": "dsrna_jacobian", "gamma": gamma, "seed": 0, "held_out": 0.4 + gamma} for gamma in (0.0, 0.01)]
    assert "are measured" not in page.answered(SMOKE, rows, MATCHES)
    said, sheets = page.answered(SMOKE, rows[1:], MATCHES), page.sheets(SMOKE, rows, gammas, [], MATCHES)
    assert "(5 of 6 networks are measured.)" in said
    text = page.html(SMOKE, said, sheets, [SMOKE.says])
    assert "50.00 (50.00 to 50.00)" in text and "Attack: AutoAttack. Certificate: crown; " in text and "<td>chosen</td>" in text
    assert "random-1 (draw 1)" in text and text.count("<table") == len(sheets) == 5
    assert all(f"| {line[0]} |" in page.markdown(said, sheets) for sheet in sheets for line in sheet.lines)


def with_results(folder, *lacking):
    """The small files of an experiment whose runs are done, but for the rows and cells that it lacks by name."""
    rows = Rows(folder)
    for gamma in (0.0, 0.01):
        if (name := stages.gamma_name("dsrna_jacobian", gamma, 0)) not in lacking:
            rows.add("gamma", name, kind="dsrna_jacobian", gamma=gamma, seed=0, held_out=0.5)
    for name, (training, method, cell, seed) in stages.network_names(SMOKE).items():
        if name not in lacking:
            rows.add("network", name, **network(method, cell, 0.5, training, seed))
    (folder / "cells").mkdir()
    for draw, name in enumerate(sorted({f"{method}-{i}" for method in SMOKE.methods for i in range(2)} - {*lacking})):
        genotypes.save(zoo.random(draw, 1), folder / "cells" / f"{name}.json")
    if not {*MATCHES} & {*lacking}:
        (folder / "matches.json").write_text(json.dumps(MATCHES))


def test_what_has_a_row_or_a_cell_is_not_run_again(tmp_path, capsys):
    """A folder with the small results alone goes on with what they lack."""
    with_results(tmp_path, "standard/gamma_0-1-0")
    experiment = Experiment(SMOKE, tmp_path, {})
    every = [[*graph.nodes] for graph in experiment.stages()]
    assert every == [[], [], ["standard/gamma_0-1-0", *(f"standard/gamma_0-1-0/{end}" for end in ("attack", "certify_linf"))]]
    assert status(question.main, ["question", "--protocol=smoke", f"--out={tmp_path}", "--dry_run"]) == 0
    assert "search          6 runs, 6 of them there" in capsys.readouterr().out
    command._report(experiment)
    assert f"<p>dsrna_jax {__version__}" in (tmp_path / "index.html").read_text()
    again = Rows(tmp_path)
    again.add("network", "standard/gamma_0-0-0", **network("gamma_0", 0, 0.1))
    assert again.by_name == Rows(tmp_path).by_name and again.by_name["standard/gamma_0-0-0"]["attacked"] == 0.5


def test_a_cell_that_two_searches_found_is_trained_once(tmp_path):
    """The network of the second has the results of that of the first."""
    one, other = "standard/dsrna_jacobian-0-0", "standard/gamma_0-1-0"
    with_results(tmp_path, one, other)
    shutil.copy(tmp_path / "cells" / "dsrna_jacobian-0.json", tmp_path / "cells" / "gamma_0-1.json")
    experiment = Experiment(SMOKE, tmp_path, {})
    trained = [name for graph in experiment.stages() for name, node in graph.nodes.items() if node.command == "train"]
    assert trained == [one]
    experiment.rows.add("network", one, **network("dsrna_jacobian", 0, 0.3))
    experiment.collect()
    assert Rows(tmp_path).by_name[other] == {"row": "network", "name": other, **network("gamma_0", 1, 0.3)}


def test_a_network_of_the_rank_study_whose_r_was_not_measured_is_trained_again(tmp_path):
    """R takes its weights, which rows that were measured elsewhere do not bring; attack and certificate need not be run again."""
    with_results(tmp_path)
    own = SMOKE._replace(rank_cells=2)
    experiment = Experiment(own, tmp_path, {})
    for i in range(2):
        experiment.rows.add("network", f"rank/rank-{i}-0", **network("rank", i, 0.5))
    experiment.rows.add("rank", "rank/rank-0-0/scores", scores={"R": 1.0})
    assert [name for graph in experiment.stages() for name in graph.nodes] == ["rank/rank-1-0"]
    (tmp_path / "rank" / "rank-1-0" / "checkpoints").mkdir(parents=True)
    assert [name for graph in experiment.stages() for name in graph.nodes] == []


def test_a_new_folder_begins_with_the_results_that_come_with_the_project(tmp_path):
    """Each row is of a run of the protocol, and a folder with results of its own keeps them."""
    own = protocol("digits")
    files.begin(tmp_path, own.name)
    found, networks = Rows(tmp_path), stages.network_names(own)
    assert found.by_name == Rows(files.measured(own.name)).by_name and files.cells(tmp_path) == files.cells(
        files.measured(own.name)
    )
    assert {row["name"]: (row["training"], row["method"], row["cell"], row["seed"]) for row in found.of("network")} == {
        name: networks[name] for name in found.by_name if name in networks
    }
    assert stages.gamma_stage(own, tmp_path, {}, found.by_name).nodes == {}
    (tmp_path / files.FILE).write_text("")
    files.begin(tmp_path, own.name)
    assert Rows(tmp_path).by_name == {}


def test_the_results_of_searches_are_kept_as_small_files(tmp_path):
    node = stages.cell_stage(SMOKE, {"dsrna_jacobian": 0.01}, {}, ()).nodes["search/gamma_0-1"]
    (tmp_path / node.name).mkdir(parents=True)
    genotypes.save(zoo.random(5, 1), tmp_path / node.name / RESULTS["search"])
    record(tmp_path, node.name, JobState("done", 1, 0.0, 1.0))
    experiment = Experiment(SMOKE, tmp_path, {})
    experiment.collect()
    assert experiment.cells == {"gamma_0-1"} and genotypes.load(tmp_path / "cells" / "gamma_0-1.json") == zoo.random(5, 1)


def test_results_are_kept_as_each_run_ends(tmp_path, monkeypatch):
    """A machine that is lost takes no run with it that had ended."""
    with_results(tmp_path, "gamma_0-0", "gamma_0-1")

    def lost_after_one(costs, place, retries, ended):
        name = "search/gamma_0-1"
        genotypes.save(zoo.random(5, 1), tmp_path / name / RESULTS["search"])
        record(tmp_path, name, JobState("done", 1, 0.0, 1.0))
        ended(name)
        assert files.cells(tmp_path) >= {"gamma_0-1"} and "gamma_0-0" not in files.cells(tmp_path)
        raise RuntimeError("lost")

    monkeypatch.setattr(command, "run_graph", lost_after_one)
    (tmp_path / "search" / "gamma_0-1").mkdir(parents=True)
    with pytest.raises(RuntimeError, match="lost"):
        command.main(["question", "--protocol=smoke", f"--out={tmp_path}"])


def test_bad_input_is_one_line(tmp_path, capsys):
    known = {"row": "network", "name": "x", **network("random", 0, 0.5)}
    for wrong in {}, {"attacked": 50.0}, {"radius": -1}, {"weights": 1.5}, {"row": "rank", "scores": {"R": []}}, {"row": "x"}:
        (tmp_path / "rows.jsonl").write_text(json.dumps(known | wrong if wrong else {"row": "network", "name": "x"}) + "\n")
        with pytest.raises(InputError, match="line 1 of"):
            Rows(tmp_path)
    for arguments, expected in (
        (["--protocol=huge"], "flag --protocol=huge"),
        (["--protocol=mnist", "--data_dir=/nowhere"], "mnist not found in /nowhere"),
        (["--protocol=smoke", f"--out={tmp_path}"], "line 1 of"),
    ):
        assert status(question.main, ["question", *arguments]) == 1
        err = capsys.readouterr().err
        assert expected in err and err.count("\n") == 1


@pytest.mark.slow
def test_one_run_of_each_kind_is_run_to_its_end_and_the_page_answers(tmp_path, capsys):
    """A search and a training at one gamma, the search of a cell, draws, a training with its attack and its certificate."""
    lacking = (stages.gamma_name("dsrna_jacobian", 0.01, 0), "standard/gamma_0-1-0")
    with_results(tmp_path, *lacking, "gamma_0-1", *MATCHES)
    assert status(question.main, ["question", "--protocol=smoke", f"--out={tmp_path}"]) == 0
    gamma, measured = (Rows(tmp_path).by_name[name] for name in lacking)
    assert 0 < gamma["held_out"] < 1 and None not in measured.values() and measured["weights"] > 0
    assert Experiment(SMOKE, tmp_path, {}).cells == {f"{method}-{i}" for method in SMOKE.methods for i in range(2)}
    said = capsys.readouterr().out
    assert any(word in said for word in ("No: at this size", "Yes: cells", "The contrary: cells")) and "are measured" not in said
    assert (tmp_path / "index.html").exists()


@pytest.mark.slow
def test_r_is_measured_at_each_stage_of_a_network(trained_run):
    node = stages.cell_stage(SMOKE, {"dsrna_jacobian": 0.01}, {}, ()).nodes["search/dsrna_jacobian-0"]
    searches = {"DSRNA-Jacobian": resolved(node)}
    found = rank.scores(trained_run, searches, rank.supernet(searches["DSRNA-Jacobian"], 1), 8)
    assert set(found) == {f"DSRNA-Jacobian at {stage}" for stage in rank.STAGES} and all(map(math.isfinite, found.values()))
