"""Docstrings: every public name of the package and of the experiments has one, which opens with a noun or a verb in one line."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# "Whether" is the opening of a truth value; any other relative clause leaves the reader to guess the noun.
CLAUSE = re.compile(r"(What|How|Where|Which|Who|When|Why|That|Those|Whatever|Of|As|By|For|The same)\b")
# A figure of speed is true where it was measured: documentation gives the command that prints it.
SPEED = re.compile(
    r"\b(twice|(two|three|four|five|ten|twenty|thirty|fifty|\d+)( to \w+)? times) (as (fast|long|much time)|faster|slower|longer)"
    r"|half a minute|\b(third|quarter|fifth|sixth) (of (the|its) time|faster|slower)"
)
TWO_ARGUMENTS = re.compile(r"\s*[a-z_]+(, [a-z_]+)*: .*\. [a-z_]+(, [a-z_]+)*: ")


def raises(node):
    """Whether a function raises an exception of its own: not again one that it caught, nor in a function inside of it."""
    inner = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.FunctionDef)]
    return any(isinstance(child, ast.Raise) and child.exc is not None or raises(child) for child in inner)


def faults(source, is_public=True):
    """[(line, fault)] of the docstrings and the comments of a module; one that is not public may leave names without."""
    tree, found = ast.parse(source), []
    public = [tree] if is_public and tree.body else []
    public += is_public * [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    found += [(getattr(n, "lineno", 1), "a public name without a docstring") for n in public if ast.get_docstring(n) is None]
    methods = [m for n in public if isinstance(n, ast.ClassDef) for m in n.body if isinstance(m, ast.FunctionDef)]
    for function in [n for n in (*public, *methods) if isinstance(n, ast.FunctionDef) and not n.name.startswith("_")]:
        if raises(function) and "Raises" not in (ast.get_docstring(function) or ""):
            found.append((function.lineno, f"does not say what {function.name} raises"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) or not (text := ast.get_docstring(node)):
            continue
        line, summary = getattr(node, "lineno", 1), text.split("\n\n")[0]
        if CLAUSE.match(text):
            found.append((line, f"opens with a relative clause: {summary}"))
        if "\n" in summary and not isinstance(node, ast.Module):
            found.append((line, f"expected a first paragraph of one line: {summary}"))
        if not summary.endswith((".", ":")):
            found.append((line, f"expected a sentence that ends: {summary}"))
        if len(text.split()) < 3:
            found.append((line, f"says too little: {summary}"))
        if re.search(r"\bRaises [A-Z]", text):
            found.append((line, "expected a colon behind Raises"))
        found += [(line, f"two arguments in one line: {x.strip()}") for x in text.splitlines() if TWO_ARGUMENTS.match(x)]
    found += [(n, f"a figure without its command: {x.strip()}") for n, x in enumerate(source.splitlines(), 1) if SPEED.search(x)]
    return found


FOLDERS = ("dsrna_jax", "experiments", "tests")  # but for this file, whose examples are faults
PRIVATE = ("tests", "experiments/notebooks")  # a notebook opens with a cell of text


def test_docstrings_open_with_a_noun_or_a_verb_and_say_one_thing_a_line():
    found = []
    for file in sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py") if file != Path(__file__)):
        name = file.relative_to(ROOT).as_posix()
        found += [(name, *fault) for fault in faults(file.read_text(encoding="utf-8"), not name.startswith(PRIVATE))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('"""A."""', "says too little"),
        ('"""A module of tests"""', "a sentence that ends"),
        ('"""A module of tests."""\ndef f():\n    pass', "without a docstring"),
        ('"""A module of tests."""\ndef f():\n    """A function that fails."""\n    raise ValueError', "what f raises"),
        ('"""What a module is."""', "relative clause"),
        ('"""Of all images."""', "relative clause"),
        ('"""A module of tests."""\ndef _f():\n    """One line\n    and another."""', "one line"),
        ('"""A module of tests.\n\nRaises ValueError."""', "colon"),
        ('"""A module of tests.\n\nsteps: of Adam. rate: of Adam too.\n"""', "two arguments"),
        ('"""A module of tests."""\nx = 1  # three times faster than one by one', "figure without its command"),
    ],
)
def test_each_fault_of_a_docstring_is_found(source, fault):
    assert len(faults(source)) == 1 and fault in faults(source)[0][1]


@pytest.mark.parametrize("source", ["", '"""Whether a module is empty."""', '"""A module of tests.\n\nMore of what it is.\n"""'])
def test_good_prose_has_no_fault(source):
    assert faults(source) == []
