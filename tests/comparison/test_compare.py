"""The comparison: one checkpoint a row, seeds together, nothing made up."""

import numpy as np
import pytest
from compared_runs import PGD, cell, cell_on, table_of
from linear_run import TINY, linear_network

from dsrna_jax import genotypes
from dsrna_jax.comparison.paper_tables import CLEAN, CW, FGSM, LINF, PARAMS
from dsrna_jax.comparison.runs import read
from dsrna_jax.comparison.text import markdown
from dsrna_jax.errors import InputError


def test_seeds_are_one_row_with_mean_and_deviation(runs):
    accuracies = [0.5, 0.56, 0.59]
    paths = [runs.make(f"s{seed}", 1 + seed, genotype="x/PDARTS", seed=seed, remat=seed == 1) for seed in range(3)]
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
    bare, whole = runs.make("a bare run", genotype="SNAS"), runs.make("whole", genotype="PNAS", epochs=3)
    (bare / "config.json").touch()
    (bare / "metrics.jsonl").write_text(f'{{"epoch": {runs.networks[bare].config.epochs}}}\n')
    runs.attack(whole, 0.9, [(PGD, 0.5)])
    runs.certify(whole, 0.9, [0.1])
    table = table_of(bare, whole)
    row = next(line for line in markdown(table).splitlines() if line.startswith("| SNAS"))
    assert row.count("—") == len(table.columns) - 2  # all but the weights and the multiply-adds
    notes = "\n".join(table.notes)
    for kind in ("attack", "certify"):
        assert f"dsrna_jax {kind} '--checkpoint={bare}'" in notes
        assert f"dsrna_jax {kind} --checkpoint={whole}" not in notes
    assert f"dsrna_jax train --resume '--run_dir={bare}'" in notes and f"--run_dir={whole}" not in notes  # no folder of a run
    assert f"not of {whole}" in notes and "known if --genotype named the folder" in notes


@pytest.mark.parametrize("done", [0, 2])
def test_a_training_that_was_stopped_is_no_replicate_of_whole_ones(runs, done):
    """One that ended before its last epoch, as by --patience, is: it has a result."""
    whole, early, part = (runs.make(name, genotype="SNAS", seed=seed, epochs=5) for seed, name in enumerate(("a", "b", "c")))
    for path, epochs in ((whole, 5), (early, 2), (part, done)):
        (path / "config.json").touch()
        (path / "metrics.jsonl").write_text("".join(f'{{"epoch": {epoch + 1}}}\n' for epoch in range(epochs)))
    runs.test(whole, 0.9)
    runs.test(early, 0.8)
    table = table_of(whole, early, part)
    assert [row.name for row in table.rows] == [
        "SNAS (2 trainings); digits, standard", f"SNAS; digits, standard, stopped after epoch {done}"
    ]  # fmt: skip
    said = f"{part} was stopped after epoch {done} of 5, and is no replicate of whole ones: it goes on by "
    (note,) = [note for note in table.notes if said in note]
    assert note.endswith(f"train --resume --run_dir={part}") and not any("which these trainings lack" in n for n in table.notes)


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


@pytest.mark.parametrize(
    ("method", "option", "columns"),
    [
        ("verify", {"timeout": 600.0}, 2), ("verify", {"tries": 2}, 2), ("verify", {"timeout": 60.0, "tries": 20}, 1),
        ("hz_crown", {"tries": 2}, 2), ("hz_crown", {"timeout": 600.0}, 1),
    ],
)  # fmt: skip
def test_radii_of_another_effort_are_another_column(runs, method, option, columns):
    """Certifications that do not say their settings, as those of earlier versions, had today's defaults."""
    paths = [runs.make(name, epochs=ord(name)) for name in "ab"]
    for path, options in zip(paths, ({}, option), strict=True):
        runs.certify(path, 0.9, [0.1, 0.2], method=method, **options)
    table = table_of(*paths)
    assert sum(column.title == LINF for column in table.columns) == columns
    assert len(set(table.headings)) == len(table.headings)


def test_maps_of_another_type_are_another_column_under_attack(runs):
    for name, options in (("a", {}), ("b", {"precision": "float32"}), ("c", {"precision": "bfloat16"})):
        runs.attack(runs.make(name, epochs=ord(name)), 0.9, [(PGD, 0.5)], **options)
    headings = [heading for heading in table_of(*(runs.root / name for name in "abc")).headings if "100 test" in heading[1]]
    assert headings == [
        (CLEAN, "100 test images"), (CLEAN, "maps in bfloat16; 100 test images"),
        ("PGD (100)", "linf 8/255; 100 test images"), ("PGD (100)", "linf 8/255; maps in bfloat16; 100 test images"),
    ]  # fmt: skip


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


def test_columns_are_in_the_papers_order(runs):
    path = runs.make("a")
    others = ("AutoAttack", "C&W-l2", "FGSM 2/255", "PGD-20")
    runs.attack(path, 0.9, [(PGD | {"name": name}, 0.5) for name in others])
    runs.certify(path, 0.9, [0.1])
    expected = [CLEAN, CLEAN, "PGD (20)", FGSM, CW, "AutoAttack", LINF, PARAMS, "Mult-adds (M)"]
    assert [
        column.title for column in table_of(path).columns
    ] == expected  # clean on the 100 attacked images, and the certified one
