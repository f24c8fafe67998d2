"""Pages in Chromium, where playwright and a browser are installed: they fit, fetch nothing, sort, and are accessible."""

import dataclasses
import json
import re
import shutil

import pytest
from compared_runs import PGD, table_of
from question_rows import MATCHES, SMOKE, network
from searched_alphas import searched

from dsrna_jax.comparison.page import page as comparison_page
from dsrna_jax.evaluation.page import write_page
from dsrna_jax.pages import SORTABLE, document, sort_button, table
from dsrna_jax.reproduction import page
from dsrna_jax.reproduction.grid import Entry, Grid, Heading, Line
from dsrna_jax.reproduction.results import Figure
from dsrna_jax.runtime.run_page import NAME, run_page
from dsrna_jax.search.mixtures_page import mixtures
from dsrna_jax.training.config import TrainingConfig
from experiments.studies.question import page as question_page

sync_api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        try:
            found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except sync_api.Error:
            pytest.skip("no Chromium: `playwright install chromium`")
        yield found
        found.close()


def run(folder):
    resolved = {
        "experiment": "training",
        "config": dataclasses.asdict(TrainingConfig(genotype="/a/very/long/path" * 9)),
        "data": {"examples": 1437, "image_shape": [8, 8, 1], "class_names": list("ab")},
    }
    rows = [{"epoch": epoch, "step": epoch, **{f"metric_{i}": epoch / (i + 1) for i in range(20)}} for epoch in range(1, 6)]
    return run_page(folder, resolved, TrainingConfig(), rows, "running", ["train --run_dir=" + "x" * 90], False)


def tables(folder):
    headings = [
        heading
        for i in range(12)
        for heading in (Heading(f"PGD ({i})", "any iterate counts"), Heading(f"PGD ({i})", "paper", True))
    ]
    entry = Entry("50.00 ± 1.00", Figure(50.0, 1.0, 2, (folder, folder), "all"), (folder, folder), "all")
    lines = [
        Line("DSRNA-CB", [entry] * 24),
        Line("RobNet-large", [], "not run: about 9 days on two cores by --methods=robnet_large"),
    ]
    return page.html(
        [Grid("Table 1", headings, lines, "protocol", ["Data: a"], ["budget"], ["x " * 200])], "Tables", ["s"], folder
    )


def sorting(folder):
    rows = [
        f'<tr><th scope="row">{name}</th><td data-value="{value}">{value}</td></tr>'
        for name, value in (("a", 2), ("b", 10), ("c", 1))
    ]
    heads = f'<th scope="col">{sort_button("name")}</th><th scope="col">{sort_button("value")}</th>'
    return document("t", table("about", heads, rows, label="t", is_sortable=True) + SORTABLE)


def evaluation(folder):
    origin = {"version": "0.1.0", "commit": "abc", "command": "attack " + "x" * 300, "processor": "p"}
    report = {
        "checkpoint": {"path": str(folder / "run")},
        "config": {"tier": "paper"},
        "origin": origin,
        "machine": {"devices": "1 cpu device", "cores": 2, "jax": "0.10"},
    }
    lines = [("attack", "accuracy", "budget"), ("PGD-10", "50.0%", "10 steps of a quarter of the radius, " * 9)]
    write_page(folder, "attack on", report, lines, "a caption", ["PASS " + "y" * 300], {})
    return (folder / NAME).read_text(encoding="utf-8")


def alphas(folder):
    return document("t", mixtures(*searched(epochs=3)))


def experiment(folder):
    rows = [network(method, i, 0.5 + i / 9) for method in SMOKE.methods for i in range(2)]
    gammas = [{"kind": "dsrna_jacobian", "gamma": gamma, "seed": 0, "held_out": 0.4 + gamma} for gamma in (0.0, 0.01)]
    sheets = question_page.sheets(SMOKE, rows, gammas, [], MATCHES)
    return question_page.html(SMOKE, question_page.answered(SMOKE, rows, MATCHES), sheets, [SMOKE.says])


@pytest.mark.parametrize("make", [run, tables, sorting, alphas, experiment, evaluation])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_fits_fetches_nothing_and_has_no_errors(browser, tmp_path, make, width):
    file = tmp_path / "page.html"
    file.write_text(make(tmp_path), encoding="utf-8")
    shown, said, fetched = browser.new_page(viewport={"width": width, "height": 900}), [], []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: fetched.append(request.url))
    shown.goto(file.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert said == [] and [url for url in fetched if not url.startswith("data:")] == [file.as_uri()]


def test_headings_sort_by_value_and_back(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(sorting(tmp_path), encoding="utf-8")
    shown = browser.new_page()
    shown.goto(file.as_uri())
    orders = []
    for _ in range(3):
        shown.get_by_role("button", name="value").click()
        orders.append("".join(shown.locator("tbody th").all_inner_texts()))
    assert orders == ["bac", "cab", "abc"]


def test_the_arrow_keys_move_the_mixtures_to_another_epoch_which_stays_when_the_page_is_loaded_again(browser, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(alphas(tmp_path), encoding="utf-8")
    shown = browser.new_page()
    shown.goto(file.as_uri())
    slider, seen = shown.get_by_role("slider", name="Epoch"), []
    assert slider.get_attribute("aria-valuetext") == "epoch 2 of 2"  # the last at first
    slider.focus()
    for key in ("ArrowLeft", "Home", "End"):
        shown.keyboard.press(key)
        cells = shown.locator(".mixtures td").all_inner_texts()
        assert cells == [v if isinstance(v, str) else f"{v / 10:.1f}" for v in shown_at(tmp_path)[int(slider.input_value())]]
        seen.append(slider.get_attribute("aria-valuetext"))
    assert seen == [f"epoch {epoch} of 2" for epoch in (1, 0, 2)]
    slider.fill("0")
    shown.reload()
    assert shown.get_by_role("status").inner_text() == "0"  # an output is a status


def test_the_page_of_a_comparison_sorts_fits_fetches_nothing_and_is_accessible(browser, runs, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    pgd, accuracies = {"adversarial": "pgd", "radius": 0.1}, {}
    for number in range(3):
        for training in ({}, pgd):
            path = runs.make(f"r{number}{len(training)}", genotype=f"/cells/cell_{number}.json", lr=0.1 + number, **training)
            accuracies[path.name] = (0.2, 0.4, 0.3)[number]
            runs.attack(path, 0.9, [(PGD | {"name": f"PGD-{steps}"}, accuracies[path.name]) for steps in range(12)])
            runs.certify(path, 0.9, [accuracies[path.name] / 10, 0.1])
    file = tmp_path / "page.html"
    file.write_text(comparison_page(table_of(*sorted(path for path in runs.networks))), encoding="utf-8")
    for width, scheme in ((400, "light"), (1400, "dark")):
        said, fetched = [], []
        shown = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900}).new_page()
        shown.on("console", lambda message, said=said: said.append(message.text))
        shown.on("pageerror", lambda error, said=said: said.append(str(error)))
        shown.on("request", lambda request, fetched=fetched: fetched.append(request.url))
        shown.goto(file.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") == width
        assert said == [] and [url for url in fetched if not url.startswith("data:")] == [file.as_uri()]
        assert [violation["id"] for violation in axe.Axe().run(shown).response["violations"]] == []
    tables = shown.locator("table")
    assert tables.count() == 2 and shown.locator("img").count() == 2 * 6 + 1  # of each: five kinds of pictures; the cell
    names = tables.nth(1).locator("tbody th")
    tables.nth(1).get_by_role("button", name="PGD-11").click()
    assert [text.split(";")[0] for text in names.all_inner_texts()] == ["cell_1", "cell_2", "cell_0"]
    assert [text.split(";")[0] for text in tables.nth(0).locator("tbody th").all_inner_texts()] == ["cell_0", "cell_1", "cell_2"]
    region, place = shown.get_by_role("region", name="digits, adversarial training"), names.nth(0).bounding_box()["x"]
    region.evaluate("element => element.scrollLeft = 300")
    assert region.evaluate("element => element.scrollLeft") > 100
    assert names.nth(0).bounding_box()["x"] == pytest.approx(place, abs=1)  # the first column stays


def shown_at(folder):
    return json.loads(re.search(r'application/json">(.*?)</script>', alphas(folder))[1])["shown"]


@pytest.mark.parametrize("make", [run, tables, alphas, experiment, evaluation])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(browser, tmp_path, make, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    (tmp_path / "page.html").write_text(make(tmp_path), encoding="utf-8")
    shown = browser.new_context(color_scheme=scheme).new_page()
    shown.goto((tmp_path / "page.html").as_uri())
    assert [violation["id"] for violation in axe.Axe().run(shown).response["violations"]] == []
