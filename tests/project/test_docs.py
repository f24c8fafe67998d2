"""README.md and docs/: snippets run, command lines parse, links lead somewhere, names exist."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from dsrna_jax import bounds
from dsrna_jax.attacks import ATTACKS
from dsrna_jax.bounds.rules.registry import RULES
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.data.sources import SOURCES
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.measures import MEASURES
from dsrna_jax.search.sampled import STRATEGIES

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
BENCHMARKS = ROOT / "experiments" / "benchmarks" / "results.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", BENCHMARKS, *sorted(DOCS.rglob("*.md"))]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
GENERATED = {DOCS / "benchmarks.md": BENCHMARKS} | {
    DOCS / "notebooks" / f"{path.stem}.md": path for path in (ROOT / "experiments" / "notebooks").glob("*.ipynb")
}
"""Pages of the site that docs/hooks.py makes, and what they are made of."""


_BLOCK = re.compile(r'^```(\w*)(?: title="([\w.]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)


def blocks(text, *languages):
    """The code blocks in one of the languages; "" for indented ones."""
    fenced = [code for language, _, code in _BLOCK.findall(text) if language in languages]
    return fenced + (re.findall(r"(?:^    .+\n)+", text, re.MULTILINE) if "" in languages else [])


def test_the_reference_has_every_public_name_of_bounds():
    entries = re.findall(r"^::: dsrna_jax\.bounds\.(\w+)$", TEXTS["docs/reference/bounds.md"], re.MULTILINE)
    assert sorted(entries) == sorted(name for name in bounds.__all__ if not name.isupper())


def snippets():
    """Every Python block of the pages, once, with the modules (titled blocks) that its page shows before it."""
    seen = {}
    for name, text in TEXTS.items():
        modules = {}
        for number, (language, title, code) in enumerate(_BLOCK.findall(text)):
            if title:
                modules = modules | {title: code}
            elif language == "python":
                slow = name == "docs/library.md"  # its programs are many: five of them take as long as all others
                seen.setdefault(code, pytest.param(code, modules, id=f"{name}-{number}", marks=pytest.mark.slow if slow else []))
    return list(seen.values())


def command_lines():
    """(module in experiments, arguments) of every call of a command that the pages show."""
    calls = set()
    for text in TEXTS.values():
        lines = "\n".join(blocks(text, "sh", "") + re.findall(r"`((?:python -m |dsrna_jax )[^`]+)`", text))
        for line in lines.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[1:2] == ["-m"] and words[2].startswith("experiments.") and not words[2].startswith("experiments.peers"):
                calls.add((words[2], tuple(words[3:])))
            elif len(words) > 1 and words[0] == "dsrna_jax":
                calls.add((f"experiments.{words[1]}", tuple(words[2:])))
    return sorted((module, arguments) for module, arguments in calls if module != "experiments.NAME")


@pytest.fixture
def registries():
    """Snippets that register something leave nothing behind."""
    kept = [(registry, dict(registry)) for registry in (ATTACKS, MEASURES, OPERATIONS, RULES, SPACES, STRATEGIES)]
    sources = list(SOURCES)
    yield
    for registry, before in kept:
        registry.clear()
        registry.update(before)
    SOURCES[:] = sources


@pytest.mark.parametrize(("code", "modules"), snippets())
def test_snippet_runs_by_itself(code, modules, tmp_path, monkeypatch, registries):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name, content in modules.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    exec(compile(code, "snippet", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize(
    ("module", "arguments"), [pytest.param(*call, id=" ".join([call[0], *call[1]])) for call in command_lines()]
)
def test_command_line_has_flags_and_values_that_exist(module, arguments, capsys):
    """Parsed by the command itself; --help then keeps it from running."""
    importlib.import_module(module).main([module, *arguments, "--help"])
    assert not capsys.readouterr().err, "an old name of a flag or value"


def test_flags_in_prose_exist(capsys):
    for module in {module for module, _ in command_lines()}:
        importlib.import_module(module).main([module, "--help"])
    known = set(re.findall(r"--(?:\[no\])?(\w+)", capsys.readouterr().out))
    for name, text in TEXTS.items():
        flags = set(re.findall(r"`--(\w+)", text))
        assert flags <= known, f"{name}: {flags - known}"


def test_dotted_names_and_paths_exist():
    for name, text in TEXTS.items():
        for dotted in set(re.findall(r"\bdsrna_jax(?:\.[A-Za-z_]\w*)+", text)):
            assert resolves(dotted), f"{name}: {dotted}"
        for path in set(re.findall(r"`((?:dsrna_jax|experiments|docs|tests)/[\w/.]+)`", text)):
            assert (ROOT / path).exists(), f"{name}: {path}"


def resolves(dotted):
    """Whether a dotted name is that of a module or of something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize("name", TEXTS)
def test_relative_links_lead_to_files(name):
    for link in re.findall(r"\]\(([^)]+)\)", TEXTS[name]):
        if "://" not in link and not link.startswith("#"):
            target = ((ROOT / name).parent / link.partition("#")[0]).resolve()
            assert GENERATED.get(target, target).is_file(), link


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = set(re.findall(r"([\w/]+\.md)", navigation))
    pages = {str(path.relative_to(DOCS)) for path in [*DOCS.rglob("*.md"), *GENERATED]}
    assert listed == pages


def test_tables_list_the_presets_as_they_are():
    text = TEXTS["docs/commands/search.md"]
    columns = ("dataset", "space", "metric", "order")
    rows = re.findall(r"^\| `(\w+)` \|" + r" (\w+) \|" * len(columns), text, re.MULTILINE)
    assert {name: tuple(values) for name, *values in rows} == {
        name: tuple(getattr(config, column) for column in columns) for name, config in PRESETS.items()
    }
    table = TEXTS["docs/commands/train.md"].partition("## Presets")[2].partition("##")[0]
    assert set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", table, re.MULTILINE)))) == set(TRAINING_PRESETS)


def test_readme_is_short_and_opens_with_the_two_make_targets():
    assert len(TEXTS["README.md"].splitlines()) <= 150
    first = blocks(TEXTS["README.md"], "sh")[0]
    assert re.findall(r"^make \w+", first, re.MULTILINE) == ["make search", "make test"]


def test_pictures_are_small():
    assert all(path.stat().st_size <= 150_000 for path in (DOCS / "images").glob("*.png"))
