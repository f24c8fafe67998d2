"""Markdown, CSV and the page hold the numbers of the table; the command refuses what it cannot read."""

import csv
import io
import re
import shutil

import numpy as np
import pytest
from compared_runs import PGD, table_of
from garbled import assert_garbled_is_refused_or_makes_no_difference
from linear_run import linear_network
from scipy import stats

from dsrna_jax.commands import compare
from dsrna_jax.commands.process import status
from dsrna_jax.comparison.columns import RADIUS_TITLES
from dsrna_jax.comparison.intervals import interval
from dsrna_jax.comparison.intervals import radii as staircase
from dsrna_jax.comparison.latex import latex
from dsrna_jax.comparison.page import page
from dsrna_jax.comparison.pictures import pictures
from dsrna_jax.comparison.runs import read
from dsrna_jax.comparison.text import comma_separated, markdown
from dsrna_jax.confidence import wilson
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.certify.report import summary
from dsrna_jax.evaluation.folder import home
from dsrna_jax.genotypes import zoo
from dsrna_jax.plots.comparison import colour
from dsrna_jax.training.shipped import FOLDER


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
    parts = re.split(r"^## .*$", markdown(table), flags=re.MULTILINE)[1:]
    assert len(parts) == len(table.facets) == 2
    for part, (_, facet) in zip(parts, table.facets, strict=True):
        lines = [line for line in part.splitlines() if line.startswith("|")]
        assert len(lines) == 2 + len(facet.rows) and len({len(line) for line in lines}) == 1
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(facet.columns) + 2}


def test_csv_has_the_numbers_of_the_table(runs):
    table = whole_table(runs)
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    found = {tuple(row[name] for name in ("architecture", "measure", "settings", "budget")): row for row in rows}
    assert len(found) == len(rows) and all(len(name) <= 12 for name in rows[0])
    expected = {(row.name, c.title, c.settings, c.budget): (row, c) for row in table.rows for c in row.cells}
    assert found.keys() == expected.keys()
    for key, (row, column) in expected.items():
        assert float(found[key]["value"]) == row.cells[column].value and found[key]["facet"] == row.facet
        ends = tuple(float(found[key][end]) for end in ("low", "high") if found[key][end])
        assert ends == (interval(row, column) or ())
    assert "Table 2, row DARTS (2nd)" in {row["source"] for row in rows}


def test_intervals_are_over_the_images_of_one_training_and_over_several_trainings(runs):
    for seed, accuracy in enumerate((0.5, 0.6, 0.7)):
        path = runs.make(f"r{seed}", seed=seed)
        runs.attack(path, 0.9, [(PGD, accuracy)])
        runs.certify(path, 0.9, [0.1, 0.2])
    one, several = table_of(runs.root / "r0"), table_of(*(runs.root / f"r{seed}" for seed in range(3)))
    column = next(column for column in one.columns if column.title == "PGD (100)")
    assert interval(one.rows[0], column) == pytest.approx([100 * end for end in wilson(50, 100)])
    half = 4.302653 * 10 / 3**0.5  # of Student's t with 2 degrees of freedom
    assert interval(several.rows[0], column) == pytest.approx((60 - half, 60 + half))
    radius = next(column for column in one.columns if column.title in RADIUS_TITLES)
    assert interval(one.rows[0], radius) == pytest.approx((0, 0.15 + 12.7062 * 0.05), rel=1e-5)
    assert all(interval(row, c) is None for row in one.rows for c in row.cells if c.title in ("Params (M)", "Mult-adds (M)"))


def test_every_image_counts_once_in_the_interval_of_a_mean_radius(runs):
    """Two searches, of which one was certified, in two trainings, one of them twice: the interval is that over its images."""
    cells, radii = [zoo.random(seed) for seed in (0, 1)], np.random.default_rng(0).random((2, 20))
    for seed, architecture in enumerate(cells):
        runs.search(f"search{seed}", architecture=architecture, seed=seed)
    paths = [
        runs.make(f"t{search}{seed}", 2.0 + search, cells[search], genotype=str(runs.root / f"search{search}"), seed=seed)
        for search, seed in ((0, 0), (0, 1), (1, 0))
    ]
    folders = [runs.certify(path, 0.9, own, norm="l2") for path, own in zip(paths, radii, strict=False)]
    shutil.copytree(folders[0], paths[0] / "once_more")
    (row,) = [row for row in table_of(*paths).rows if row.runs]
    (column,) = [column for column in row.cells if column.title in RADIUS_TITLES]
    expected = stats.t.interval(0.95, 19, radii.mean(), radii.mean(0).std(ddof=1) / 20**0.5)
    assert row.cells[column].count == 1 < row.count and interval(row, column) == pytest.approx(expected)
    assert len(staircase(row, column)) == 40


def test_the_median_of_a_staircase_is_that_of_the_certification(runs):
    """The radius of the second of four images."""
    path, radii = runs.make("a"), np.array([0.4, 0.1, 0.2, 0.3])
    runs.certify(path, 0.9, radii)
    seen = [picture.seen for picture in pictures(table_of(path)) if "staircases" in picture.seen]
    median = summary(radii, np.ones(4, bool))["median"]
    assert median == 0.2 and [f"median radius {median:.3g}." in text for text in seen] == [True]


def test_each_data_set_and_kind_of_training_has_its_table_pictures_and_best_figures(runs):
    for name, training in (
        ("a", {}),
        ("b", {"lr": 0.5}),
        ("c", {"adversarial": "pgd"}),
        ("d", {"adversarial": "pgd", "lr": 0.5}),
    ):
        path = runs.make(name, **training)
        runs.attack(path, 0.9, [(PGD, (ord(name) - 96) / 10)])
    table = table_of(*(runs.root / name for name in "abcd"))
    assert [name for name, _ in table.facets] == ["digits, standard training", "digits, adversarial training"]
    for (name, facet), best in zip(table.facets, (20.0, 40.0), strict=True):
        column = next(column for column in facet.columns if column.title == "PGD (100)")
        assert facet.best(column) == best and len(facet.rows) == 2 and f"<h2>{name}</h2>" in page(table)
        scatter = next(picture for picture in pictures(facet) if "robustness" in picture.caption)
        assert all(f"{row.name}: PGD (100) {row.cells[column].value:.2f}, accuracy 90.00 %" in scatter.seen for row in facet.rows)
        assert [picture.caption for picture in pictures(facet) if "Clean accuracy against cost" in picture.caption]


def test_latex_marks_the_best_and_shows_every_sign_as_it_is(runs):
    for name, accuracy in (("a_1", 0.5), ("b&%$#{}~^\\<>|", 0.6)):
        path = runs.make(f"run{accuracy}", genotype=f"/x/{name}.json", lr=accuracy)
        runs.attack(path, 0.9, [(PGD, accuracy)])
    text = latex(table_of(runs.root / "run0.5", runs.root / "run0.6"))
    assert r"\textbf{60.00}" in text and r"\textbf{50.00}" not in text and r"a\_1" in text
    assert r"b\&\%\$\#\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\textgreater{}\textbar{}" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\toprule") == 1
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in rows}) == 1


def test_colours_of_rows_are_unique_beyond_ten():
    assert len({colour(index) for index in range(150)}) == 150
    assert all(re.fullmatch("#[0-9a-f]{6}", colour(index)) for index in range(150))


def test_the_page_needs_no_other_file(runs):
    text = page(whole_table(runs))
    assert not [sign for sign in ("://", "<link", "<script src", "@import", "url(") if sign in text]
    assert set(re.findall(r'src="([^,]*),', text)) == {"data:image/svg+xml;base64"}
    assert "<b>&amp;" not in text and "&lt;b&gt;&amp;|SNAS" in text
    assert "color-scheme: light dark" in text and text.count("<tr class=paper>") == 1
    # of each: accuracies, radii, a curve, two staircases; and the cell that both have
    assert text.count("<figure ") == 2 * 5 + 1


def test_the_page_marks_the_best_measured_figure_of_each_column(runs):
    """A network with more accuracy, less under attack and a larger radius than another."""
    for name, scale, clean, attacked, radii in (("a", 1.0, 0.9, 0.2, [0.1]), ("b", 2.0, 0.8, 0.3, [0.05])):
        path = runs.make(name, scale, seed=len(name), lr=scale)
        runs.test(path, clean)
        runs.attack(path, clean, [(PGD, attacked)])
        runs.certify(path, clean, radii)
    text = page(table_of(runs.root / "a", runs.root / "b"))
    marked = dict(re.findall(r'<td data-value="([^"]+)" class=best[^>]*>([^<]*)<', text))
    assert {"90.00", "30.00", "0.1"} <= set(marked.values()) and not {"80.00", "20.00", "0.05"} & set(marked.values())


def run_command(*arguments):
    return status(compare.main, ["compare", *map(str, arguments)])


def test_the_command_writes_four_files(runs, tmp_path, capsys):
    path = runs.make("a", genotype="SNAS")
    runs.attack(path, 0.9, [(PGD, 0.5)])
    assert run_command(path, path, f"--out={tmp_path / 'new' / 'out'}") == 0
    out = capsys.readouterr().out
    folder = tmp_path / "new" / "out"
    assert sorted(file.name for file in folder.iterdir()) == [f"comparison.{kind}" for kind in ("csv", "html", "md", "tex")]
    assert out.startswith((folder / "comparison.md").read_text()) and f"open {folder}/comparison.html" in out
    assert run_command(path) == 0 and (tmp_path / "comparison.html").exists()


PLACES = ("run", "run/best", "alone", "network.safetensors", "run/export/network.safetensors", "shipped")


@pytest.mark.parametrize("place", PLACES)
def test_results_are_read_where_evaluations_leave_them(runs, tmp_path, monkeypatch, capsys, place):
    """And nothing is written beside a network that ships with the package."""
    monkeypatch.chdir(tmp_path)
    shipped = FOLDER / "digits_pcdarts.safetensors"
    before = sorted(FOLDER.iterdir())
    run = runs.make("run")
    (run / "config.json").touch()
    (run / "metrics.jsonl").write_text(f'{{"epoch": {runs.networks[run].config.epochs}}}\n')
    checkpoint = shipped if place == "shipped" else tmp_path / place
    if checkpoint.suffix:
        checkpoint.parent.mkdir(exist_ok=True)
        checkpoint.touch()
    else:
        checkpoint.mkdir(exist_ok=True)
    runs.networks[checkpoint] = runs.networks[run]
    for left in (runs.certify(run, 0.9, [0.1]), runs.attack(run, 0.9, [(PGD, 0.5)])):
        there = home(checkpoint, left.name)
        there.parent.mkdir(exist_ok=True)
        left.rename(there)
    assert [len(results) for results in read(checkpoint)[6:8]] == [1, 1]
    assert run_command(checkpoint) == 0 and "has not run" not in capsys.readouterr().out
    assert sorted(FOLDER.iterdir()) == before and (tmp_path / "runs/comparison.md").exists() == (place == "shipped")


@pytest.mark.parametrize("place", PLACES[:-1])
def test_results_of_another_network_are_refused_or_left_to_it(runs, tmp_path, place):
    """Refused in the place of a checkpoint; where it shares the place with others, they may be theirs."""
    run = runs.make("run")
    (run / "config.json").touch()
    (run / "metrics.jsonl").write_text(f'{{"epoch": {runs.networks[run].config.epochs}}}\n')
    checkpoint = tmp_path / place
    (checkpoint.parent if checkpoint.suffix else checkpoint).mkdir(exist_ok=True)
    if checkpoint.suffix:
        checkpoint.touch()
    left = runs.certify(run, 0.9, [0.1])
    left.rename(home(checkpoint, left.name))
    runs.networks[checkpoint] = linear_network(2.0)
    if place in ("run", "network.safetensors"):
        with pytest.raises(InputError, match="measured another checkpoint"):
            read(checkpoint)
    else:
        assert not read(checkpoint).certificates


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
