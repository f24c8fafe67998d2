"""The page of a run: one file that says how far the run is, what it recorded, and what to run next."""

import dataclasses
import html.parser
import json
import re
import shutil
import sys
import types

import pytest

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.runtime.origin import ORIGIN, origin
from dsrna_jax.runtime.run_page import RELOAD, run_page
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.strict_json import check

RESOLVED = {
    "experiment": "search",
    "config": dataclasses.asdict(PRESETS["digits_dsrna_cb"]),
    "data": {"examples": 1437, "image_shape": [8, 8, 1], "class_names": list("0123456789")},
    "machine": {"devices": "1 cpu device", "cores": 2, "jax": "0.10.2"},
    "origin": {"version": "0.1.0", "commit": "abc", "command": "search --metric='<b>'", "python": "3.11"},
}


def page(folder, rows=(), state="running", commands=(), is_running=True):
    return run_page(folder, RESOLVED, SearchConfig(), rows, state, commands, is_running)


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes, checked to be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_says_state_configuration_version_commit_and_command(tmp_path):
    text = page(tmp_path, state="epoch 2 of 9 & more", commands=["train --genotype=<x>"])
    Tags(text)
    for expected in (
        "epoch 2 of 9 &amp; more",
        "train --genotype=&lt;x&gt;",
        "0.1.0, commit abc",
        "&lt;b&gt;",
        "1 cpu device, 2 cores",
    ):
        assert expected in text
    changed = re.findall(r'<th scope="row">(\w+)</th><td class="value best">', text)
    defaults = dataclasses.asdict(SearchConfig())
    assert changed == [name for name, value in RESOLVED["config"].items() if value != defaults[name]] and changed


def test_it_loads_itself_again_only_while_the_run_goes_on(tmp_path):
    assert f'http-equiv="refresh" content="{RELOAD}"' in page(tmp_path)
    assert "http-equiv" not in page(tmp_path, is_running=False)


def test_rows_are_the_newest_first_and_columns_without_a_number_are_left_out(tmp_path):
    rows = [
        {"epoch": e, "step": 9 * e, "val_loss": 0.5 * e, "eigenvalue": None, "radius": None if e == 1 else 1e-9} for e in (1, 2)
    ]
    text = page(tmp_path, rows)
    Tags(text)
    assert re.findall(r'<tr><th scope="row">(\d)</th><td data-value="([\d.]+)">', text) == [("2", "1.0"), ("1", "0.5")]
    assert "eigenvalue</button>" not in text and "radius</button>" in text and ">1e-09<" in text


def test_it_needs_no_other_file_and_pictures_say_what_is_seen(tmp_path):
    (tmp_path / "curves.png").write_bytes(b"png")
    text = page(tmp_path, [{"epoch": 1, "step": 1, "val_accuracy": 0.25}])
    assert not [sign for sign in ("://", "<link", "<script src", "@import", "url(") if sign in text]
    ((_, picture),) = [(tag, attributes) for tag, attributes in Tags(text).found if tag == "img"]
    assert picture["src"].startswith("data:image/png;base64,") and "val accuracy 0.25" in picture["alt"]


@pytest.mark.parametrize(
    ("module", "argv", "expected"),
    [
        ("dsrna_jax.__main__", ["/x/__main__.py", "train", "--genotype=a b"], "python -m dsrna_jax train '--genotype=a b'"),
        ("experiments.search", ["/x/search.py", "--seed=1"], "python -m experiments.search --seed=1"),
        (None, ["/bin/dsrna_jax", "search"], "dsrna_jax search"),
    ],
)
def test_the_origin_of_a_run_has_its_shape_and_the_command_as_it_was_typed(module, argv, expected, monkeypatch):
    spec = module and types.SimpleNamespace(name=module)
    monkeypatch.setitem(sys.modules, "__main__", types.SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, "argv", argv)
    check(origin(), ORIGIN)
    assert origin()["command"] == expected


@pytest.fixture
def trained(tiny_run, tmp_path):
    folder, *_ = tiny_run
    return shutil.copytree(folder, tmp_path / "run")


def test_a_training_leaves_a_page_with_its_end_and_what_comes_next(trained):
    text = (trained / "index.html").read_text()
    tags = Tags(text).found
    assert "ended after 3 epochs; accuracy on all 360 test images" in text and "http-equiv" not in text
    assert "attack --checkpoint=" in text and "certify --checkpoint=" in text
    curves, cells = [attributes["alt"] for tag, attributes in tags if tag == "img"]
    assert "After the last epoch: epoch 3, " in curves and "normal: 2<-sep_conv_3x3(0)+skip_connect(1)" in cells
    (part,) = map(json.loads, (trained / "timing.jsonl").read_text().splitlines())
    check(part, ORIGIN)
