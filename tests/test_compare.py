"""The comparison: one checkpoint a row, seeds together, nothing made up, and a page that needs no other file."""

import csv
import io
import json
import re

import numpy as np
import pytest
from linear_run import TINY, linear_network

from dsrna_jax import genotypes
from dsrna_jax.commands import compare
from dsrna_jax.commands.process import status
from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.page import page
from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.comparison.runs import read
from dsrna_jax.comparison.table import comparison
from dsrna_jax.comparison.text import comma_separated, markdown
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.training import restore

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
    assert len(cells) == 1, row.cells
    return cells[0]


def test_seeds_are_one_row_with_mean_and_deviation(runs):
    accuracies = [0.5, 0.56, 0.59]
    paths = [runs.make(f"s{seed}", 1 + seed, genotype="x/PDARTS", seed=seed) for seed in range(3)]
    for path, accuracy in zip(paths, accuracies, strict=True):
        runs.attack(path, 0.9, [(PGD, accuracy)])
    runs.certify(paths[1], 0.9, [0.0, 0.02])
    table = table_of(*paths, runs.make("other", genotype="x/PDARTS", adversarial="pgd"))
    assert [row.name for row in table.rows] == ["PDARTS, adversarial none", "PDARTS, adversarial pgd"]
    robust = cell(table.rows[0], "PGD (100)")
    assert (
        robust.value == pytest.approx(55) and robust.std == pytest.approx(np.std([50, 56, 59], ddof=1)) and robust.count == 3
    )
    assert cell(table.rows[0], LINF)[:3] == (0.01, None, 1)
    assert cell(table.rows[0], CLEAN).std == 0
    text = markdown(table)
    assert "55.00 ± 4.58" in text and "0.01 (1 of 3)" in text


def test_another_architecture_under_the_same_name_is_another_row(runs):
    other = genotypes.from_json(genotypes.to_json(TINY) | {"normal": [["max_pool_3x3", 0], ["sep_conv_3x3", 1]]})
    table = table_of(runs.make("a", genotype="x/found"), runs.make("b", genotype="y/found", architecture=other))
    assert [row.name for row in table.rows] == [f"found ({runs.root}/a)", f"found ({runs.root}/b)"]


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
    assert str(whole) not in notes and "known where --genotype named the folder of a search" in notes


def test_other_settings_are_another_column(runs):
    path = runs.make("a")
    runs.attack(path, 0.9, [(PGD, 0.5), (PGD | {"radius": 2 / 255}, 0.8)])
    runs.attack(path, 0.8, [(PGD | {"budget": "100 steps, 5 starts"}, 0.4)], tier="standard", examples=10)
    runs.attack(path, 0.7, [(PGD, 0.45)], tier="smoke", examples=5, split="held_out")
    table = table_of(path)
    values = {heading: table.rows[0].cells[column].value for column, heading in zip(table.columns, table.headings, strict=True)
             if column.title in ("PGD (100)", CLEAN)}  # fmt: skip
    assert values == {
        (CLEAN, ""): 90,  # of the most images
        (CLEAN, "held_out images"): 70,
        ("PGD (100)", "linf 2/255"): 80,
        ("PGD (100)", "linf 8/255; 100 steps"): 50,
        ("PGD (100)", "linf 8/255; 100 steps, 5 starts"): 40,
        ("PGD (100)", "linf 8/255; held_out images"): 45,
    }


def test_a_searched_cell_has_its_cost_and_the_papers_row(runs):
    search = runs.root / "search"
    search.mkdir()
    (search / "config.json").write_text(json.dumps({"experiment": "search", "config": {"metric": "jacobian"}}))
    genotypes.save(TINY, search / "genotype.json")
    (search / "timing.jsonl").write_text('{"setup_s": 3600, "search_s": 7200}\n{"setup_s": 0, "search_s": 10800}\n')
    path = runs.make("a", genotype=str(search), dataset="mnist")
    runs.attack(path, 0.9, [(PGD, 0.5), ({"name": "C&W-l2", "norm": "l2", "radius": 0.5, "budget": "60"}, 0.3)])
    runs.certify(path, 0.9, [0.1], norm="l2", method="crown")
    ours, printed = table_of(path).rows
    assert cell(ours, COST).value == pytest.approx(0.25)
    assert printed.name == "paper: DSRNA-Jacobian (Tables 4, 6)" and not printed.runs
    assert cell(printed, "PGD (100)") == (96.82, 0.02, 1, "Table 4, row DSRNA-Jacobian")
    assert cell(printed, CW).value == 95.37 and cell(printed, L2).value == 0.4285
    assert not any(column.title in (FGSM, LINF, COST) for column in printed.cells)
    other = genotypes.from_json(genotypes.to_json(TINY) | {"reduction": [["max_pool_3x3", 0]] * 2})
    genotypes.save(other, search / "genotype.json")
    assert COST not in {column.title for column in table_of(path).rows[0].cells}  # the folder has since found another cell


def test_the_papers_row_stands_once_below_all_rows_of_its_method(runs):
    standard = runs.make("a", genotype="PC_DARTS_cifar", dataset="cifar10")
    adversarial = runs.make("b", genotype="PC_DARTS_cifar", dataset="cifar10", adversarial="fast", radius=0.1)
    names = [row.name for row in table_of(standard, adversarial).rows]
    assert names[:2] == ["PC_DARTS_cifar, adversarial none", "PC_DARTS_cifar, adversarial fast"]  # without a radius of no attack
    assert len(names) == 3 and names[2].startswith("paper: ")


def test_published_cells_have_the_papers_row_of_their_data_set_alone(runs):
    cifar = table_of(runs.make("a", genotype="PC_DARTS_cifar", dataset="cifar10")).rows
    assert [cell(cifar[1], title)[:2] for title in (CLEAN, PARAMS, COST)] == [(97.43, 0.07), (3.6, None), (0.1, None)]
    assert len(table_of(runs.make("b", genotype="PC_DARTS_cifar", dataset="digits")).rows) == 1


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
    for name in (*paper_tables.ROWS.values(), *paper_tables.METRICS.values()):
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
            text = read_back[", ".join(filter(None, column))]
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
        ([damaged], "attack.json is damaged: expected the result of dsrna_jax attack"),
        ([foreign], "certify.json is damaged"),
        ([good, f"--out={tmp_path / 'file'}"], "is a file"),
        ([good, "--wrong=3"], "wrong"),
    ):
        assert run_command(*arguments) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and expected in err
    assert not (tmp_path / "comparison.md").exists()


def test_columns_are_in_the_papers_order(runs):
    path = runs.make("a")
    others = ("AutoAttack", "C&W-l2", "FGSM 2/255", "PGD-20")
    runs.attack(path, 0.9, [(PGD | {"name": name}, 0.5) for name in others])
    runs.certify(path, 0.9, [0.1])
    expected = [CLEAN, "PGD (20)", FGSM, CW, "AutoAttack", LINF, PARAMS, "Mult-adds (M)", COST]
    assert [column.title for column in table_of(path).columns] == expected
