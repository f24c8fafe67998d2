"""Reproduction of the tables: protocols are whole, graphs are in order, bad input is one line, pages say what was measured."""

import csv
import dataclasses
import json
import re
from pathlib import Path

import pytest
from compared_runs import PGD
from planned_runs import TABLES, finished, planned

from dsrna_jax.commands import reproduce
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import status
from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.runs import read
from dsrna_jax.reproduction import page, protocols
from dsrna_jax.reproduction.departures import departures, networks
from dsrna_jax.reproduction.graph import check_same, graph, role_of
from dsrna_jax.reproduction.grid import ABSENT, Grid, _text, grid
from dsrna_jax.reproduction.results import figure, printed, value
from dsrna_jax.runtime.lock import locked
from dsrna_jax.sweeps.jobs import keep
from dsrna_jax.sweeps.worker import JobState, record

EVERY = tuple(protocols.methods())


def command(*arguments):
    return status(reproduce.main, ["reproduce", *map(str, arguments)])


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.number)
def test_a_table_has_the_rows_and_the_columns_of_the_paper(table):
    assert [protocols.methods()[name].row for name in table.rows] == paper_tables.rows(table.number)
    titles = {
        title
        for row in paper_tables.rows(table.number)
        for data in table.data
        for title, found in paper_tables.figures(row, data).items()
        if found.table == table.number
    }
    assert titles <= {column.title for column in table.columns}


def test_the_search_of_a_row_is_of_the_method_that_the_paper_names_so():
    presets = {name: method.searches["cifar10"]["preset"] for name, method in protocols.methods().items()
               if "preset" in method.searches.get("cifar10", {})}  # fmt: skip
    assert len(presets) >= 12
    for name, preset in presets.items():
        assert paper_tables.method(vars(PRESETS[preset]), "cifar10") == protocols.methods()[name].row


@pytest.mark.parametrize("name", protocols.scale_names())
def test_a_scale_runs_each_table_or_says_why_not(name):
    scale = protocols.scale(name)
    assert sorted([*scale.tables, *scale.left_out]) == sorted({*scale.tables, *scale.left_out}) == [*protocols.TABLES]
    for number, sections in scale.tables.items():
        assert set(sections) <= set(protocols.table(number).data) and set(sections.values()) <= set(scale.data)


@pytest.mark.parametrize("name", protocols.scale_names())
def test_the_commands_of_every_method_are_valid_and_have_a_cost(name):
    plan = planned(name, *EVERY)
    assert all(seconds > 0 for seconds in plan.costs.planned.values())  # each configuration was made by its command
    for node in plan.graph.nodes.values():  # codes for each cell fit their depth alone
        for search in node.needs if node.command == "train" else ():
            if getattr(plan.costs.configs[search], "cell_free", False):
                assert plan.costs.configs[search].cells == plan.costs.configs[node.name].cells, node.name
    there = {cell.method.name for cell in plan.graph.cells}
    for table in plan.tables:
        left_out = plan.rows_left_out(table)
        for method in protocols.chosen(table.rows) if table.number in plan.scale.tables else ():
            assert method.name in there or method.absent in left_out[method.row]


def test_a_figure_under_attack_is_of_the_checkpoints_whose_clean_accuracy_stands_beside_it():
    for table in TABLES[:4]:
        of = {
            column.training for column in table.columns if column.measure.split()[0] in ("attack", "fgsm", "series", "unattacked")
        }
        assert of <= {"adversarial"} and (not of or ("clean", "adversarial") in {(c.measure, c.training) for c in table.columns})


def test_the_clean_accuracy_of_robnet_is_of_adversarial_training_as_in_the_paper():
    (column,) = [column for column in protocols.table(2).columns if column.measure == "clean"]
    roles = {name: role_of(column, protocols.methods()[name], "cifar10") for name in ("robnet_large", "dsrna_cb")}
    assert roles == {"robnet_large": "adversarial", "dsrna_cb": "standard"}


@pytest.mark.parametrize("name", protocols.scale_names())
def test_every_run_comes_after_those_whose_results_it_takes(name):
    plan, seen = planned(name, seeds=2), set()
    for node in plan.graph.nodes.values():
        assert set(node.needs) <= seen
        named = {str(node.flags[flag]) for flag in ("genotype", "checkpoint") if flag in node.flags}
        assert {str(plan.out / need) for need in node.needs} <= named
        seen.add(node.name)
    assert {name for cell in plan.graph.cells for name in cell.trainings} <= seen
    jobs = [node.job for node in plan.graph.nodes.values()]
    assert len({(job.command, job.flags) for job in jobs}) == len(jobs), "the same run twice"


def test_tables_share_their_runs():
    one, two = planned("digits", tables=TABLES[:1]), planned("digits", tables=TABLES[3:4])
    assert {node.job for node in one.graph.nodes.values()} <= {node.job for node in two.graph.nodes.values()}


def test_departures_name_every_field_that_differs_and_nothing_else():
    full, small = planned("paper", "dsrna_cb", "robnet_large"), planned("digits", "dsrna_cb")
    for number in (1, 2):
        assert departures(full.graph, full.graph, reproduce.resolved, number) == []
    said = "\n".join(departures(small.graph, full.graph, reproduce.resolved, 1))
    ours, theirs = (
        plan.costs.configs["/".join((data, "adversarial/dsrna_cb-0"))] for plan, data in ((small, "digits"), (full, "cifar10"))
    )
    assert "attacks: radius 0.03137 -> 0.1, examples 0 -> 128" in said
    robnet = planned("digits", "robnet_large")
    assert "cells of robnet_large: found by a search" in departures(robnet.graph, full.graph, reproduce.resolved, 1)[0]
    line = said.split("adversarial training: ")[1].splitlines()[0]
    for field in dataclasses.fields(ours):
        if field.name not in ("seed", "genotype", "data_dir", "precision"):
            assert (f" {field.name} " in f" {line}") == (getattr(ours, field.name) != getattr(theirs, field.name)), field.name


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--table=7"], "table='7': expected all, or numbers from 1 to 6"),
        (["--scale=huge"], "flag --scale=huge: value should be one of"),
        (["--methods=dsrna_bc"], "methods='dsrna_bc' is no method: expected some of nasnet,"),
        (["--seeds=-1"], "seeds=-1: expected a number in [0, 1000]"),
        (["--table=3"], "nothing to run at scale=digits: table 3: cells of one data set"),
        (["--table=1", "--methods=amoebanet"], "nothing to run at scale=digits: none of the methods amoebanet"),
        (["--scale=paper", "--methods=amoebanet"], "in these tables; AmoebaNet-B: its cell was published for another network"),
        (["--scale=cifar10_small", "--data_dir=/nowhere"], "cifar10 not found in /nowhere: give --data_dir=PATH"),
        (["--at_once=-1"], "at_once=-1: expected a number in"),
        (["digits"], "unexpected argument 'digits'"),
    ],
)
def test_bad_input_ends_in_one_line_and_leaves_nothing(arguments, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 1
    err = capsys.readouterr().err
    assert expected in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_absent_data_and_devices_come_with_what_can_be_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr("dsrna_jax.data.sources.is_there", lambda name, folder=None: name != "mnist")
    plan = planned("paper", out=tmp_path)
    data, gpu = plan.missing(has_gpu=False)
    assert "mnist not found" in data and "--table=1,2,3 runs without" in data
    assert re.search(r"needs a GPU.* it takes about \d+ (days|years); give --engine=slurm", gpu)
    assert planned("digits", out=tmp_path).missing(has_gpu=False) == []


def test_a_changed_configuration_is_one_line_with_the_difference(tmp_path):
    plan = planned("digits", "random", tables=TABLES[:1], out=tmp_path)
    keep([node.job for node in plan.graph.nodes.values()], tmp_path)
    check_same(plan.graph, tmp_path)
    check_same(planned("digits", "random", "dsrna_cb", seeds=2, out=tmp_path).graph, tmp_path)  # more runs are no change
    with pytest.raises(
        Exception, match="was begun with another configuration: .*random-0 with --preset=digits .*, now --preset=smoke"
    ):
        check_same(planned("smoke", "random", tables=TABLES[:1], out=tmp_path).graph, tmp_path)
    assert "WARN: " in planned("smoke", "random", tables=TABLES[:1], out=tmp_path).text(has_gpu=True)


def test_two_reproductions_in_one_folder_are_refused(tmp_path, capsys):
    with locked(tmp_path / "r", "out"):
        assert command("--scale=smoke", f"--out={tmp_path / 'r'}") == 1
    assert "is in use by process" in capsys.readouterr().err


def test_dry_run_shows_every_command_and_makes_nothing(tmp_path, capsys):
    assert command("--scale=smoke", f"--out={tmp_path / 'r'}", "--dry_run") == 0
    out = capsys.readouterr().out
    plan = planned("smoke", out=tmp_path / "r")
    for node in plan.graph.nodes.values():
        assert f"--{'run_dir' if node.command in ('search', 'train') else 'out'}={plan.out / node.name}\n" in out
    assert "table 3: " in out and "left out: cells of one data set" in out and "11 runs, 0 of them done" in out
    assert not list(tmp_path.iterdir())


class Instant:
    """An engine whose jobs end at once: well, but for those of a kind that fails."""

    capacity = 2

    def __init__(self, plan, failing=""):
        self.plan, self.failing, self.order = plan, failing, []

    def submit(self, sweep, name):
        self.order.append(name)
        if self.failing and self.failing in name:
            record(sweep, name, JobState("failed", 1, 0.0, 1.0, message="error: no"))
        else:
            finished(self.plan, name)

        class Handle:
            def is_done(self):
                return True

            def cancel(self):
                pass

        return Handle()


@pytest.fixture
def instant(monkeypatch):
    """Runs the command with engines that end at once, and without reading results."""
    monkeypatch.setattr("dsrna_jax.sweeps.run._PATIENCE", 0.0)
    monkeypatch.setattr("dsrna_jax.reproduction.results.read", lambda path: None)
    monkeypatch.setattr("dsrna_jax.reproduction.grid.figure", lambda cell, done: None)
    engines = []

    def run(plan, *arguments, failing=""):
        engines.append(Instant(plan, failing))
        monkeypatch.setattr(reproduce, "engine", lambda values, sweep: engines[-1])
        return command(*arguments, f"--out={plan.out}"), engines[-1].order

    return run


def test_runs_start_when_what_they_need_is_done_and_are_not_run_again(tmp_path, instant, capsys):
    plan = planned("smoke", out=tmp_path / "r")
    code, order = instant(plan, "--scale=smoke")
    assert code == 0 and sorted(order) == sorted(plan.graph.nodes)
    assert all(order.index(need) < order.index(name) for name, node in plan.graph.nodes.items() for need in node.needs)
    assert {file.name for file in plan.out.glob("tables.*")} == {"tables.html", "tables.md", "tables.csv", "tables.tex"}
    (plan.out / "digits/search/dsrna_jacobian-0/genotype.json").unlink()  # a result that was removed is made again
    assert instant(plan, "--scale=smoke") == (0, ["digits/search/dsrna_jacobian-0"])


def test_rows_that_were_run_before_stay_on_the_page(tmp_path, instant, capsys):
    plan = planned("smoke", "random", out=tmp_path / "r")
    assert instant(plan, "--scale=smoke", "--methods=random")[0] == 0
    assert "| DSRNA-Jacobian | not run" in (plan.out / "tables.md").read_text()
    both = planned("smoke", out=plan.out)
    code, order = instant(both, "--scale=smoke", "--methods=dsrna_jacobian")
    lines = (plan.out / "tables.md").read_text().splitlines()
    assert code == 0 and not [name for name in order if "random" in name]
    assert "- searches of each method: 5 -> 1." in lines and "docs/paper.md" in lines[6]
    for row in ("DSRNA-Jacobian", "random cells"):
        found = [line for line in lines if line.startswith(f"| {row} |")]
        assert len(found) == 5 and not [line for line in found if "not run" in line]


def test_what_needs_a_failed_run_does_not_start_and_the_rest_goes_on(tmp_path, instant, capsys):
    plan = planned("smoke", out=tmp_path / "r")
    code, order = instant(plan, "--scale=smoke", "--retries=0", failing="search")
    assert code == 1 and order.count("digits/search/dsrna_jacobian-0") == 1
    assert not [name for name in order if "/search/" not in name and "dsrna_jacobian" in name]
    assert "digits/adversarial/random-0/attack" in order
    err = capsys.readouterr().err
    assert "6 of 11 runs are not done" in err and "try them again by" in err and err.count("\n") == 1


def test_figures_are_means_over_searches_beside_the_papers(runs, tmp_path):
    """Two of three searches are done: mean and deviation are of these."""
    row = PGD | {"name": "PGD-10, last iterate", "budget": "10 steps"}
    plan = planned("cifar10", "sdarts_adv", "random", tables=TABLES[:1], seeds=3, out=tmp_path)
    paths = {}
    for seed, accuracy in enumerate((0.5, 0.6)):
        name = f"cifar10/adversarial/sdarts_adv-{seed}"
        path = paths[name] = runs.make(f"r{seed}", seed=seed)
        runs.test(path, 0.9)
        file = runs.attack(path, 0.9, [(row, accuracy)]) / "attack.json"
        content = json.loads(file.read_text())
        content["config"]["radius"] = 8 / 255
        file.write_text(json.dumps(content))
    done = {name: read(path) for name, path in paths.items()}
    assert value(done["cifar10/adversarial/sdarts_adv-0"], "attack PGD-10") is None  # the stricter count is another row
    (cell,) = [c for c in plan.graph.cells if c.method.name == "sdarts_adv" and c.column.title == "PGD (10)"]
    for measure, expected in (("unattacked", 90.0), ("clean", 90.0), ("series", None), ("fgsm 1", None)):
        one = value(done["cifar10/adversarial/sdarts_adv-0"], measure)
        assert (one and one.value) == (expected and pytest.approx(expected)), measure
    found = figure(cell, done)
    assert (found.value, found.std, found.count) == (pytest.approx(55), pytest.approx(5 * 2**0.5), 2)
    assert set(found.runs) == {path / "attack" for path in paths.values()} and printed(cell).value == 56.94
    table = grid(protocols.table(1), plan.scale, plan.graph, done, {"DSRNA-CB": "not run: about 9 days"}, ["epochs 600 -> 3"])
    line = {line.name: line for line in table.lines}["SDARTS-ADV"]
    titles = [(heading.title, heading.is_paper) for heading in table.headings]
    assert line.entries[titles.index(("PGD (10)", False))].text == "55.00 ± 7.07 (2 of 3)"
    assert line.entries[titles.index(("PGD (10)", True))].text == "56.94 ± 0.02"
    assert line.entries[titles.index(("AutoAttack", False))].text == ABSENT
    texts = page.html([table], "t", [], tmp_path), page.markdown([table], "t", []), page.latex([table])
    assert all("55.00" in text and "not run: about 9 days" in text for text in texts) and "epochs 600 -&gt; 3" in texts[0]
    assert (
        'href="r0/attack"' in texts[0] and 'href="r1/attack"' in texts[0] and not re.search(r'(src|href)="(https?:)?//', texts[0])
    )
    heads, *rows = csv.reader(page.comma_separated([table]).splitlines())
    counts = {(row[heads.index("source")], row[heads.index("count")]) for row in rows}
    assert counts == {("measured", "2"), ("paper", "")}


def test_the_networks_of_a_table_are_named_by_their_size_and_training():
    of = {number: networks(planned("paper", "dsrna_cb").graph, reproduce.resolved, number) for number in (1, 5)}
    adversarial = "adversarial training on cifar10: 20 cells, 36 channels in the first, 200 epochs, by pgd within linf 8/255"
    assert of[1] == [adversarial]
    assert [line.split(", ")[0] for line in of[5]] == [
        f"training of networks that are certified on {data}: 5 cells" for data in ("mnist", "cifar10")
    ]


def test_figures_have_digits_however_small_they_are():
    small = [_text(value, std) for value, std in ((56.94, 0.02), (0.0325, None), (0.0, None), (8.13e-6, 1.2e-6))]
    assert small == ["56.94 ± 0.02", "0.0325", "0.0000", "8.1e-06 ± 1.2e-06"]


def test_a_table_that_is_not_run_is_a_remark_in_latex():
    text = page.latex([Grid("Table 3", [], [], "Not run: it is of ImageNet.", [], [], [])])
    assert text == "% Table 3\n% Not run: it is of ImageNet.\n"


def test_a_graph_at_a_scale_without_a_table_has_no_runs():
    scale = protocols.scale("digits")
    assert not graph([protocols.table(3)], scale, protocols.chosen(scale.methods), 1, Path("r"), {}).nodes
