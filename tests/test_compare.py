"""The comparison: one checkpoint a row, seeds together, nothing made up, and a page that needs no other file."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from garbled import assert_garbled_is_refused_or_makes_no_difference
from linear_run import TINY, linear_network

from dsrna_jax import genotypes
from dsrna_jax.commands import compare
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import status
from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.columns import COSTS, CPU_COST, OTHER_COST, Column, Images
from dsrna_jax.comparison.page import page
from dsrna_jax.comparison.paper_rows import PAPER_COST, with_paper_rows
from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.comparison.runs import FinishedTraining, FoundBy, read
from dsrna_jax.comparison.table import comparison
from dsrna_jax.comparison.text import comma_separated, markdown
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.training import restore
from dsrna_jax.training.config import TrainingConfig

SEARCH = dataclasses.asdict(PRESETS["cifar10_dsrna_jacobian"])
PGD = {"name": "PGD-100", "norm": "linf", "radius": 8 / 255, "budget": "100 steps", "seconds": 1.0}


def share(accuracy):
    return {"accuracy": accuracy, "low": max(accuracy - 0.1, 0), "high": min(accuracy + 0.1, 1)}


class Runs:
    """Run folders, and the networks that lie in them."""

    def __init__(self, root):
        self.root, self.networks = root, {}

    def make(self, name, scale=1.0, architecture=TINY, **config):
        path = self.root / name
        path.mkdir()
        self.networks[path] = linear_network(scale, architecture, **config)
        return path

    def attack(self, path, clean, rows, tier="paper", examples=100, **config):
        content = {
            "experiment": "attack",
            "config": {"tier": tier, "norm": "linf", "split": "test", **config},
            "checkpoint": {"path": str(path), "step": 7, "digest": self.networks[path].digest},
            "examples": examples,
            "clean": share(clean),
            "rows": [row | share(accuracy) for row, accuracy in rows],
            "curve": {
                "points": [{"name": name, "radius": r, "accuracy": clean - r} for name, r in (("clean", 0), ("PGD-20", 0.1))]
            },
        }
        return self.write(path / f"attack_{tier}_linf", "attack.json", content)

    def test(self, path, accuracy, images=360, split="test"):
        """The result with which a training ends."""
        correct = round(accuracy * images)
        test = {"split": split, "images": images, "correct": correct, "accuracy": correct / images, "low": 0.0, "high": 1.0}
        checkpoint = {"step": 7, "digest": self.networks[path].digest, "chosen": "best"}
        (path / "result.json").write_text(json.dumps({"experiment": "training", "checkpoint": checkpoint, "test": test}))

    def search(self, name, architecture=TINY, devices="1 NVIDIA H100 device", cores=None, **config):
        """The folder of a search that found that architecture, of four hours in two parts."""
        folder = self.write(self.root / name, "config.json", {"experiment": "search", "config": SEARCH | config})
        genotypes.save(architecture, folder / "genotype.json")
        parts = ({"setup_s": 3600, "search_s": 7200}, {"setup_s": 0, "search_s": 3600})
        machine = {"devices": devices} | ({"cores": cores} if cores else {})
        (folder / "timing.jsonl").write_text("".join(json.dumps(part | machine) + "\n" for part in parts))
        return folder

    def certify(self, path, clean, radii, norm="linf", method="hz_crown"):
        radii = np.asarray(radii)
        content = {
            "experiment": "certify",
            "config": {"clip": True, "split": "test", "sigma": 0.25, "n0": 10, "n": 100, "alpha": 0.001},
            "checkpoint": {"path": str(path), "step": 7, "digest": self.networks[path].digest},
            "examples": len(radii),
            "clean": share(clean),
            "norm": norm,
            "method": method,
            "radius": {"mean": radii.mean()},
        }
        folder = self.write(path / f"certify_{method}_{norm}", "certify.json", content)
        np.savez(folder / "radii.npz", minimum=radii)
        return folder

    @staticmethod
    def write(folder, name, content):
        folder.mkdir()
        (folder / name).write_text(json.dumps(content))
        return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    folders = Runs(tmp_path)
    load = restore.load

    def loaded(path):
        return folders.networks[path] if path in folders.networks else load(path)

    monkeypatch.setattr(restore, "load", loaded)
    return folders


def table_of(*paths):
    return comparison([read(path) for path in paths])


def cell(row, title):
    cells = [c for column, c in row.cells.items() if column.title == title]
    assert len(set(cells)) == 1, row.cells
    return cells[0]


def cell_on(row, title, images):
    """The cell of that title on those images."""
    (found,) = [c for column, c in row.cells.items() if column.title == title and str(column.images) == images]
    return found


def test_seeds_are_one_row_with_mean_and_deviation(runs):
    accuracies = [0.5, 0.56, 0.59]
    paths = [runs.make(f"s{seed}", 1 + seed, genotype="x/PDARTS", seed=seed) for seed in range(3)]
    for path, accuracy in zip(paths, accuracies, strict=True):
        runs.attack(path, 0.9, [(PGD, accuracy)])
    runs.certify(paths[1], 0.9, [0.0, 0.02])
    table = table_of(*paths, runs.make("other", genotype="x/PDARTS", adversarial="pgd"))
    assert [row.name for row in table.rows] == [
        "PDARTS (3 trainings); digits, standard",
        "PDARTS; digits, adversarial (pgd, linf 8/255)",
    ]
    robust = cell(table.rows[0], "PGD (100)")
    assert robust.value == pytest.approx(55) and robust.std == pytest.approx(np.std([50, 56, 59], ddof=1)) and robust.count == 3
    assert cell(table.rows[0], LINF)[:3] == (0.01, None, 1)
    assert cell_on(table.rows[0], CLEAN, "100 test images")[1:3] == (0, 3)
    text = markdown(table)
    assert "55.00 ± 4.58" in text and "0.01 (1 of 3)" in text


def test_another_architecture_under_the_same_name_is_another_row(runs):
    other = genotypes.from_json(genotypes.to_json(TINY) | {"normal": [["max_pool_3x3", 0], ["sep_conv_3x3", 1]]})
    table = table_of(runs.make("a", genotype="x/found"), runs.make("b", genotype="y/found", architecture=other))
    assert [row.name for row in table.rows] == [f"found; digits, standard ({runs.root}/{name})" for name in "ab"]


def test_clean_and_robust_accuracy_are_of_one_checkpoint(runs):
    path = runs.make("a")
    folder = runs.attack(path, 0.9, [(PGD, 0.5)])
    runs.networks[path] = linear_network(2.0)  # trained on, since
    with pytest.raises(InputError, match=f"{folder} measured another checkpoint .* delete it and run dsrna_jax attack again"):
        read(path)


def test_missing_measures_are_dashes_with_the_command_that_fills_them(runs):
    bare, whole = runs.make("bare", genotype="SNAS"), runs.make("whole", genotype="PNAS", epochs=3)
    runs.attack(whole, 0.9, [(PGD, 0.5)])
    runs.certify(whole, 0.9, [0.1])
    table = table_of(bare, whole)
    row = next(line for line in markdown(table).splitlines() if line.startswith("| SNAS"))
    assert row.count("—") == len(table.columns) - 2  # all but the weights and the multiply-adds
    notes = "\n".join(table.notes)
    for kind in ("attack", "certify"):
        assert f"dsrna_jax {kind} --checkpoint={bare}" in notes
        assert f"dsrna_jax {kind} --checkpoint={whole}" not in notes
    assert f"dsrna_jax train --resume --run_dir={bare}" in notes and "known if --genotype named the folder" in notes


def test_other_settings_and_other_images_are_another_column(runs):
    path = runs.make("a")
    runs.attack(path, 0.9, [(PGD, 0.5), (PGD | {"radius": 2 / 255}, 0.8)])
    runs.attack(path, 0.8, [(PGD | {"budget": "100 steps, 5 starts"}, 0.4)], tier="standard", examples=10)
    runs.attack(path, 0.7, [(PGD, 0.45)], tier="smoke", examples=5, split="held_out")
    table = table_of(path)
    values = {heading: table.rows[0].cells[column].value for column, heading in zip(table.columns, table.headings, strict=True)
             if column.title in ("PGD (100)", CLEAN)}  # fmt: skip
    assert values == {
        (CLEAN, "100 test images"): 90,
        (CLEAN, "10 test images"): 80,
        (CLEAN, "5 held_out images"): 70,
        ("PGD (100)", "linf 2/255; 100 test images"): 80,
        ("PGD (100)", "linf 8/255; 100 test images"): 50,
        ("PGD (100)", "linf 8/255; 10 test images"): 40,
        ("PGD (100)", "linf 8/255; 5 held_out images"): 45,
    }


# ---- images


def test_whatever_is_measured_on_images_has_the_clean_accuracy_on_the_same_images_beside_it(runs):
    """The clean accuracy is that of the file which holds the measurement, never that of more images."""
    path = runs.make("a")
    runs.test(path, 0.95)
    for number, (tier, examples, seed, split) in enumerate(
        [("paper", 100, 0, "test"), ("smoke", 10, 0, "test"), ("standard", 100, 1, "test"), ("other", 50, 0, "held_out")]
    ):
        runs.attack(path, 0.8 + 0.01 * number, [(PGD, 0.3 + 0.01 * number)], tier, examples, seed=seed, split=split)
    runs.certify(path, 0.7, np.linspace(0, 0.1, 20))
    row = table_of(path).rows[0]
    pairs = {str(column.images): round(cell.value) for column, cell in row.cells.items() if column.title == CLEAN}
    assert pairs == {
        "all 360 test images": 95, "100 test images": 80, "10 test images": 81, "100 test images drawn by seed 1": 82,
        "50 held_out images": 83, "20 test images": 70,
    }  # fmt: skip
    for column in row.cells:
        assert column.images is None or str(column.images) in pairs
    robust = {str(column.images): round(cell.value) for column, cell in row.cells.items() if column.title == "PGD (100)"}
    assert {pairs[images] - value for images, value in robust.items()} == {50}


def test_the_worst_of_other_attacks_is_another_column(runs):
    worst = PGD | {"name": "worst case", "budget": "every row of this norm and radius"}
    for name, rows in (
        ("a", [PGD]),
        ("b", [PGD | {"budget": "100 steps, 5 starts"}]),
        ("c", [PGD, PGD | {"name": "AutoAttack"}]),
    ):
        runs.attack(runs.make(name, epochs=ord(name)), 0.9, [*((row, 0.5) for row in rows), (worst, 0.5)])
    table = table_of(*(runs.root / name for name in "abc"))
    assert [column.budget for column in table.columns if column.title == "worst case"] == [
        "the worst of PGD-100 (100 steps)",
        "the worst of PGD-100 (100 steps), AutoAttack (100 steps)",
        "the worst of PGD-100 (100 steps, 5 starts)",
    ]


def test_all_test_images_are_one_set_whoever_counted_them(runs):
    path = runs.make("a")
    runs.test(path, 0.95)
    runs.attack(path, 0.95, [(PGD, 0.5)], examples=360)
    assert {str(column.images) for column in table_of(path).rows[0].cells if column.images} == {"all 360 test images"}


def test_the_result_of_another_checkpoint_is_refused(runs):
    path = runs.make("a")
    runs.test(path, 0.95)
    runs.networks[path] = linear_network(2.0)
    with pytest.raises(
        InputError, match=r"result.json measured another checkpoint .* delete it and run dsrna_jax train --resume"
    ):
        read(path)


# ---- searches


def test_a_searched_cell_is_named_by_space_metric_order_and_data(runs):
    search = runs.search("found", dataset="mnist", metric="certified", order="first", space="darts")
    path = runs.make("a", genotype=str(search), dataset="mnist", image_size=14)
    assert table_of(path).rows[0].name == (
        "darts, certified, first, searched on mnist (found); mnist at 14x14, standard"
    )  # and nothing of the paper beside it


def test_the_papers_row_stands_beside_what_the_papers_method_found(runs):
    """A method is named by space, metric, order and data: another of any of them is another method."""
    search = runs.search("search", dataset="mnist")
    path = runs.make("a", genotype=str(search), dataset="mnist")
    runs.certify(path, 0.9, [0.1], norm="l2", method="crown")
    ours, printed = table_of(path).rows
    assert printed.name == "paper: DSRNA-Jacobian; mnist, standard (Tables 4, 6)" and not printed.runs
    assert cell(printed, CLEAN) == (99.36, 0.01, 1, "Table 4, row DSRNA-Jacobian") and cell(printed, L2).value == 0.4285
    assert not any(column.title == LINF or column.title in COSTS for column in printed.cells)
    for change in ({"space": "darts"}, {"metric": "fancy"}, {"order": "first"}, {"dataset": "cifar10"}, {"image_size": 14}):
        (search / "config.json").write_text(
            json.dumps({"experiment": "search", "config": SEARCH | {"dataset": "mnist"} | change})
        )
        assert len(table_of(path).rows) == 1, change
    other = genotypes.from_json(genotypes.to_json(TINY) | {"reduction": [["max_pool_3x3", 0]] * 2})
    genotypes.save(other, search / "genotype.json")
    assert not any(c.title in COSTS for c in table_of(path).rows[0].cells)  # the folder has since found another cell


@pytest.mark.parametrize(
    ("devices", "title", "how", "days"),
    [
        ("1 NVIDIA H100 device", COST, "1 NVIDIA H100", 1 / 6),
        ("4 NVIDIA GeForce GTX 1080 Ti devices", COST, "4 NVIDIA GeForce GTX 1080 Ti", 4 / 6),
        ("1 cpu device", CPU_COST, "cpu, 8 cores", 1 / 6),
        ("2 cpu devices", CPU_COST, "cpu, 8 cores", 1 / 6),
        ("4 TPU v4 devices", OTHER_COST, "4 TPU v4", 1 / 6),
        ("", OTHER_COST, "devices not recorded", 1 / 6),
    ],
)
def test_the_cost_of_a_search_names_its_devices_and_a_cpu_has_no_gpu_days(runs, devices, title, how, days):
    path = runs.make("a", genotype=str(runs.search("search", devices=devices, cores=8)), dataset="cifar10")
    table = table_of(path)
    (column,) = [column for column in table.rows[0].cells if column.title in COSTS]
    assert (column.title, column.settings) == (title, how) and table.rows[0].cells[column].value == pytest.approx(days)
    assert not any(cells.note for row in table.rows for c, cells in row.cells.items() if c == column)  # the paper's stands apart
    assert ("GPU" in column.title) == (title == COST)
    assert cell(table.rows[1], COST).value == 1.0


def test_a_search_that_changed_devices_has_neither_gpu_days_nor_days_on_a_cpu(runs):
    folder = runs.search("search", cores=4)
    with open(folder / "timing.jsonl", "a") as file:
        file.write('{"setup_s": 0, "search_s": 14400, "devices": "1 cpu device"}\n')
    row = table_of(runs.make("a", genotype=str(folder))).rows[0]
    (column,) = [column for column in row.cells if column.title in COSTS]
    assert (column.title, column.settings) == (OTHER_COST, "1 NVIDIA H100, then cpu") and row.cells[column].value == 1 / 3


def test_a_search_that_was_stopped_says_so_and_has_no_cost(runs):
    """Nor the paper's row, nor a place among whole searches."""
    whole, part = (runs.search(name, seed=seed) for seed, name in enumerate(("whole", "part")))
    for folder, epoch in ((whole, 50), (part, 7)):
        (folder / "metrics.jsonl").write_text(f'{{"epoch": {epoch}, "step": {epoch}}}\n')
    paths = [runs.make(folder.name + "_", genotype=str(folder), dataset="cifar10") for folder in (whole, part)]
    rows = table_of(*paths).rows
    assert [bool(row.runs) for row in rows] == [True, False, True]
    (stopped,) = [row for row in rows if row.runs and row.runs[0].path == paths[1]]
    assert "searched on cifar10, stopped after epoch 7 (part)" in stopped.name
    assert not any(column.title in COSTS for column in stopped.cells) and len(table_of(paths[1]).rows) == 1


def test_a_file_in_the_folder_of_a_search_is_of_that_search(runs):
    folder = runs.search("found")
    by_file = runs.make("a", genotype=str(folder / "genotype.json"))
    assert table_of(by_file).rows[0].name.startswith("pcdarts, jacobian, unrolled, searched on cifar10 (found);")


def test_a_training_without_test_images_says_why(runs):
    path = runs.make("a")
    checkpoint = {"step": 7, "digest": runs.networks[path].digest}
    content = {"experiment": "training", "checkpoint": checkpoint, "test": None, "why": "no split test"}
    (path / "result.json").write_text(json.dumps(content))
    assert f"{path} has no accuracy on test images: no split test" in table_of(path).notes


def test_searches_of_one_method_merge_into_mean_and_deviation(runs):
    """Each search counts once, as the mean of its trainings, however many it has."""
    cells = [TINY] + [genotypes.from_json(genotypes.to_json(TINY) | {"normal": [[name, 0], ["skip_connect", 1]]})
                      for name in ("max_pool_3x3", "avg_pool_3x3")]  # fmt: skip
    paths = []
    for seed, (architecture, accuracies) in enumerate(zip(cells, [(0.5, 0.6), (0.65,), (0.75,)], strict=True)):
        folder = runs.search(f"search_{seed}", architecture, seed=seed, data_dir=f"{seed}")
        for training, accuracy in enumerate(accuracies):
            paths.append(runs.make(f"t{seed}{training}", 1 + len(paths), architecture, genotype=str(folder), seed=training))
            runs.attack(paths[-1], 0.9, [(PGD, accuracy)])
    table = table_of(*paths)
    assert table.rows[0].name == "pcdarts, jacobian, unrolled, searched on cifar10 (3 searches, 4 trainings); digits, standard"
    assert len(table.rows) == 1 and table.rows[0].count == 3
    merged = cell(table.rows[0], "PGD (100)")
    assert merged[:3] == (pytest.approx(65), pytest.approx(10), 3)
    assert cell(table.rows[0], COST)[:3] == (pytest.approx(1 / 6), 0, 3)
    assert "65.00 ± 10.00" in markdown(table) and "0.167 |" in markdown(table) and page(table).count("<img") >= 3
    # Another setting of the search is another method, which its name says; retrainings of one cell merge as before.
    runs.search("other", cells[0], seed=0, gamma=0.5)
    last = runs.make("last", 9, cells[0], genotype=str(runs.root / "other"))
    names = [row.name for row in table_of(*paths, last).rows]
    assert [name.partition(" (")[2] for name in names] == [
        "3 searches, 4 trainings); digits, standard, search gamma 0.01",
        "other); digits, standard, search gamma 0.5",
    ]
    assert cell(table_of(*paths[:2]).rows[0], "PGD (100)")[:3] == (pytest.approx(55), pytest.approx(np.std([50, 60], ddof=1)), 2)
    with pytest.raises(InputError, match="are the same training with seed 0"):
        table_of(*paths, runs.make("twin", 1, cells[0], genotype=str(runs.root / "search_0")))


# ---- rows of different data or training, and of the paper


def test_rows_say_their_data_and_their_training(runs):
    """Also where all rows have the same, and those of the paper."""
    kinds = [
        {},
        {"adversarial": "pgd"},
        {"adversarial": "fast", "radius": 0.1},
        {"adversarial": "trades", "norm": "l2", "radius": 0.5},
    ]
    paths = [
        runs.make(f"{dataset}_{size}_{number}", genotype="PC_DARTS_cifar", dataset=dataset, image_size=size, **kind)
        for dataset, size in (("digits", 0), ("cifar10", 0), ("cifar10", 16))
        for number, kind in enumerate(kinds)
    ]
    table = table_of(*paths)
    ours = [row for row in table.rows if row.runs]
    assert len({row.name for row in ours}) == len(paths)
    for row in ours:
        config = row.runs[0].config
        data = f"; {config.dataset} at 16x16, " if config.image_size else f"; {config.dataset}, "
        assert data in row.name and ("adversarial" in row.name) == config.is_adversarial
    (printed,) = [row for row in table.rows if not row.runs]
    assert printed.name == "paper: PC-DARTS; cifar10, standard (Table 2)"
    assert table.rows.index(printed) == 1 + [row.runs and row.runs[0].path for row in table.rows].index(paths[4])


def test_published_cells_have_the_papers_row_of_their_data_set_alone(runs):
    cifar = table_of(runs.make("a", genotype="PC_DARTS_cifar", dataset="cifar10")).rows
    assert [cell(cifar[1], title)[:2] for title in (CLEAN, PARAMS, COST)] == [(97.43, 0.07), (3.6, None), (0.1, None)]
    assert len(table_of(runs.make("b", genotype="PC_DARTS_cifar", dataset="digits")).rows) == 1


def every_figure():
    """(row, data set, title) of all figures in the tables."""
    names = sorted({*paper_tables.ROWS.values(), *paper_tables.METHODS.values()})
    return [
        (name, data, title) for name in names for data in paper_tables.SEARCHED_ON for title in paper_tables.figures(name, data)
    ]


def matched(row, dataset, title, run_of, /, **changes):
    """The figures of that title that stand beside a run of that method, measured by the figure's protocol but for `changes`."""
    wanted = paper_tables.protocol(title, row, dataset)
    of_run = {"dataset": dataset, "image_size": max(wanted.sides), "adversarial": "pgd" if wanted.is_adversarial else "none"}
    of_run |= {name: value for name, value in changes.items() if name in of_run}
    ball = {"norm": wanted.norm, "radius": wanted.radius or 0.0}
    split = changes.get("split", wanted.split)
    column = Column(title, **{name: changes.get(name, value) for name, value in ball.items()}, images=Images(split, 100, 0))
    if title == COST:
        column = PAPER_COST
    elif title == PARAMS:
        column = Column(PARAMS)
    both = with_paper_rows([ComparisonRow("ours", (run_of(row, **of_run),), {})], [column])
    return [printed.cells[column].value for printed in both[1:] if column in printed.cells]


@pytest.fixture
def run_of():
    """(paper's name, configuration of the training) -> the finished training of a cell of that name."""
    zoo_names = {name: genotype for genotype, name in paper_tables.ROWS.items()}
    methods = {name: key for key, name in paper_tables.METHODS.items()}

    def run(row, **config):
        search, genotype = None, zoo_names.get(row)
        if genotype is None:
            space, metric, order = methods[row]
            searched_on = paper_tables.SEARCHED_ON[config["dataset"]] if config["dataset"] in paper_tables.SEARCHED_ON else ""
            search = FoundBy(Path("s"), {"space": space, "metric": metric, "order": order, "dataset": searched_on}, ())
        config = TrainingConfig(genotype=genotype or "s", **config)
        return FinishedTraining(Path("r"), config, TINY, 1, 1, None, [], [], [], search)

    return run


@pytest.mark.parametrize("dataset", paper_tables.SEARCHED_ON)
@pytest.mark.parametrize("row", sorted({row for row, _, _ in every_figure()}))
def test_a_figure_of_the_paper_stands_where_all_matches_and_nowhere_else(run_of, row, dataset):
    """Norm, stated radius, data set and its size, split, adversarial or not: another of any of them gives a dash."""
    for title, figure in paper_tables.figures(row, dataset).items():
        wanted = paper_tables.protocol(title, row, dataset)
        assert matched(row, dataset, title, run_of) == ([] if wanted.radius is None else [figure.value]), title
        changes = [{"image_size": 24}, {"adversarial": "none" if wanted.is_adversarial else "fast"}]
        if title not in (PARAMS, COST):
            changes += [{"split": split} for split in ("train", "held_out", "test[:50%]", "train[:10]")]
        if wanted.norm:
            changes += [{"norm": "l2" if wanted.norm == "linf" else "linf"}]
            changes += [{"radius": radius} for radius in (0.5, 0.03, 0.01, 1 / 255, 4 / 255, (wanted.radius or 0.1) + 1e-4)]
        for other in {"digits", "svhn_cropped", *paper_tables.SEARCHED_ON} - {dataset}:
            for size in (0, 28, 32, 224):
                changes.append({"dataset": other, "image_size": size})
        for change in changes:
            beside = matched(row, dataset, title, run_of, **change)
            elsewhere = paper_tables.figures(row, change["dataset"]).get(title) if "dataset" in change else None
            assert beside in ([], [elsewhere and elsewhere.value]) and figure.value not in beside, (title, change)


def test_c_and_w_and_attacks_on_mnist_and_imagenet_have_no_stated_radius():
    assert all(paper_tables.protocol(CW, row, data).radius is None for row, data, title in every_figure() if title == CW)
    unstated = {
        data for _, data, title in every_figure() if title == FGSM and paper_tables.protocol(FGSM, "", data).radius is None
    }
    assert unstated == {"mnist", "imagenet2012"}
    assert paper_tables.protocol(FGSM, "DSRNA-CB", "cifar10").radius == 2 / 255
    assert paper_tables.protocol("PGD (20)", "DSRNA-CB", "cifar10").radius == 8 / 255


def test_robnet_is_adversarial_in_every_column():
    """Its 78.57 % and 82.79 % stand in Table 2 among accuracies of standard training."""
    assert paper_tables.protocol(CLEAN, "RobNet-free", "cifar10").is_adversarial
    assert not paper_tables.protocol(CLEAN, "DSRNA-CB", "cifar10").is_adversarial


def test_figures_are_those_printed_in_the_paper():
    assert all(name in zoo.names() for name in paper_tables.ROWS)
    assert paper_tables.figures("DSRNA-CB", "cifar10") == {
        "PGD (10)": (60.31, 0.07, 1),
        "PGD (20)": (60.22, 0.11, 1),
        "PGD (100)": (59.93, 0.24, 1),
        FGSM: (69.88, 0.09, 1),
        CW: (63.01, 0.07, 1),
        CLEAN: (97.42, 0.07, 2),
        PARAMS: (3.5, None, 2),
        COST: (4.0, None, 2),
        LINF: (0.0049, None, 5),
        L2: (0.0412, None, 6),
    }
    assert paper_tables.figures("RobNet-large", "mnist")[L2].value == 0.134
    assert paper_tables.figures("DSRNA-Jacobian", "imagenet2012")["PGD (100)"] == (43.79, 0.11, 3)
    assert COST not in paper_tables.figures("RobNet-large", "cifar10")
    for name in (*paper_tables.ROWS.values(), *paper_tables.METHODS.values()):
        assert CLEAN in paper_tables.figures(name, "cifar10")
        assert paper_tables.figures(name, "digits") == {}


def whole_table(runs):
    first = runs.make("a|b", genotype="<b>&|SNAS", dataset="mnist")
    second = runs.make("c", genotype="DARTS_V2", dataset="cifar10")
    for path, accuracy in ((first, 0.25), (second, 0.5)):
        runs.attack(path, 0.9, [(PGD, accuracy)])
        runs.certify(path, 0.9, [accuracy / 10, 0.0])
        runs.certify(path, 0.9, [accuracy, 0.1], norm="l2", method="smoothing")
    return table_of(first, second)


def test_markdown_has_one_line_a_row_of_equal_width(runs):
    table = whole_table(runs)
    lines = [line for line in markdown(table).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(table.rows) and len({len(line) for line in lines}) == 1
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(table.columns) + 2}


def test_csv_has_the_numbers_of_the_table(runs):
    table = whole_table(runs)
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert [row["architecture"] for row in rows] == [row.name for row in table.rows]
    for read_back, row in zip(rows, table.rows, strict=True):
        for column in table.columns:
            text = read_back[", ".join(filter(None, (column.title, column.settings, column.budget)))]
            assert text == "" if column not in row.cells else float(text) == row.cells[column].value
    assert "Table 2, row DARTS (2nd)" in rows[2]["source"]


def test_the_page_needs_no_other_file(runs):
    text = page(whole_table(runs))
    assert "://" not in text and "<link" not in text and "<script" not in text and "@import" not in text and "url(" not in text
    assert set(re.findall(r'src="([^,]*),', text)) == {"data:image/svg+xml;base64"}
    assert "<b>&amp;" not in text and "&lt;b&gt;&amp;|SNAS" in text
    assert "color-scheme: light dark" in text and text.count("<tr class=paper>") == 1
    # accuracies, radii, a curve, two staircases, and the cell that both have
    assert text.count("<figure>") == 6


def run_command(*arguments):
    return status(compare.main, ["compare", *map(str, arguments)])


def test_the_command_writes_three_files(runs, tmp_path, capsys):
    path = runs.make("a", genotype="SNAS")
    runs.attack(path, 0.9, [(PGD, 0.5)])
    assert run_command(path, path, f"--out={tmp_path / 'new' / 'out'}") == 0
    out = capsys.readouterr().out
    folder = tmp_path / "new" / "out"
    assert sorted(file.name for file in folder.iterdir()) == ["comparison.csv", "comparison.html", "comparison.md"]
    assert out.startswith((folder / "comparison.md").read_text()) and f"open {folder}/comparison.html" in out
    assert run_command(path) == 0 and (tmp_path / "comparison.html").exists()


def test_bad_input_ends_in_one_line(runs, tmp_path, capsys):
    good, twin = runs.make("good"), runs.make("twin")
    damaged, foreign = runs.make("damaged"), runs.make("foreign")
    runs.attack(damaged, 0.9, [])
    (damaged / "attack_paper_linf" / "attack.json").write_text('{"experiment": "attack", ')
    (foreign / "mine").mkdir()
    (foreign / "mine" / "certify.json").write_text("[1]")
    (tmp_path / "file").write_text("")
    for arguments, expected in (
        ([], "expected one or more RUN"),
        ([tmp_path / "nothing"], "no checkpoint in"),
        ([good, twin], "are the same training with seed 0: give one of them"),
        ([damaged], "attack.json: expected JSON, got text that is none"),
        ([foreign], "certify.json: expected an object, got [1]; this is no result of dsrna_jax certify"),
        ([good, f"--out={tmp_path / 'file'}"], "is a file"),
        ([good, "--wrong=3"], "wrong"),
    ):
        assert run_command(*arguments) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and expected in err
    assert not (tmp_path / "comparison.md").exists()


def test_garbled_results_are_refused_by_name(runs):
    """Results of attack, certify, train and the search are all read with suspicion."""
    search = runs.search("search")
    path = runs.make("a", genotype=str(search))
    folders = runs.attack(path, 0.9, [(PGD, 0.5)], examples=100), runs.certify(path, 0.9, [0.0, 0.1])
    runs.test(path, 0.9)
    files = [*(next(folder.glob("*.json")) for folder in folders), path / "result.json", search / "config.json"]

    def shown():
        table = table_of(path)
        return markdown(table), comma_separated(table)

    def is_allowed(done):  # no mean radius, no test images, and a search by a version that lacks an option
        return done in ("radius.mean=None", "test=None") or bool(re.fullmatch(r"config\.\w+ left out", done))

    for file in files:
        assert_garbled_is_refused_or_makes_no_difference(file, shown, allowed=is_allowed)
    times = b'{"setup_s": %s, "search_s": 1}\n'
    for file, contents in {
        folders[1] / "radii.npz": (b"", b"[]", (folders[1] / "radii.npz").read_bytes()[:80], b"\x80\x04N."),
        search / "timing.jsonl": (
            b"",
            b"[]\n",
            b"{}\n",
            b"\xff\n",
            *(times % value for value in (b'"x"', b"1e999", b"-1", b"null")),
        ),
    }.items():
        good = file.read_bytes()
        for content in contents:
            file.write_bytes(content)
            with pytest.raises(InputError, match=file.name) as caught:
                read(path)
            assert "\n" not in str(caught.value)
        file.write_bytes(good)


def test_columns_are_in_the_papers_order(runs):
    path = runs.make("a")
    others = ("AutoAttack", "C&W-l2", "FGSM 2/255", "PGD-20")
    runs.attack(path, 0.9, [(PGD | {"name": name}, 0.5) for name in others])
    runs.certify(path, 0.9, [0.1])
    expected = [CLEAN, CLEAN, "PGD (20)", FGSM, CW, "AutoAttack", LINF, PARAMS, "Mult-adds (M)"]
    assert [
        column.title for column in table_of(path).columns
    ] == expected  # clean on the 100 attacked images, and the certified one
