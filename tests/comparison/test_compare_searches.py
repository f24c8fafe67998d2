"""A row of a searched cell names its method and its search's cost, and searches of one method merge."""

import json

import numpy as np
import pytest
from compared_runs import PGD, SEARCH, cell, table_of
from linear_run import TINY

from dsrna_jax import genotypes
from dsrna_jax.comparison.columns import COSTS, CPU_COST, OTHER_COST
from dsrna_jax.comparison.page import page
from dsrna_jax.comparison.paper_tables import CLEAN, COST, L2, LINF
from dsrna_jax.comparison.runs import read
from dsrna_jax.comparison.text import markdown
from dsrna_jax.errors import InputError


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


def test_a_search_is_found_from_any_folder_above_the_training(runs):
    """The training was started in a folder above, and the comparison elsewhere."""
    (runs.root / "searches").mkdir()
    found = runs.search("searches/one")
    path = runs.make("training", genotype=f"{runs.root.name}/searches/one")
    assert read(path).search.path == found
