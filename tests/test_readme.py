"""What README.md shows is what happens."""

import re
from pathlib import Path

import pytest

from dsrna_jax.commands import attack, certify, compare, search, train
from dsrna_jax.commands.presets import PRESETS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs_by_itself(snippet, tmp_path, monkeypatch):
    """Each block is complete, and what it asserts holds."""
    monkeypatch.chdir(tmp_path)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})


def test_flags_exist(capsys):
    search.main(["search", "--help"])
    train.main(["train", "--help"])
    attack.main(["attack", "--help"])
    certify.main(["certify", "--help"])
    compare.main(["compare", "--help"])
    known = set(re.findall(r"--(?:\[no\])?(\w+)", capsys.readouterr().out))
    ours = [line for line in README.splitlines() if "tfds build" not in line]
    assert set(re.findall(r"--(\w+)", "\n".join(ours))) <= known


def test_table_lists_the_presets_as_they_are():
    columns = ("dataset", "space", "metric", "order")
    rows = re.findall(r"^\| `(\w+)` \|" + r" (\w+) \|" * len(columns), README, re.MULTILINE)
    assert {name: tuple(values) for name, *values in rows} == {
        name: tuple(getattr(config, column) for column in columns) for name, config in PRESETS.items()
    }


def test_links_lead_to_files():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links and all((ROOT / link).is_file() for link in links)
