"""Imports go one way: a folder of the package imports from folders below it only, and no modules import each other in a circle.

Read from the source, so that imports inside functions count as well. Imports under TYPE_CHECKING do not: they never run.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "dsrna_jax"

# From the bottom up. Folders of one floor do not import each other.
FLOORS = (
    ("errors", "data_parallel", "parent"),
    ("extras", "files"),
    ("lazy", "strict_json", "pages", "kernels"),
    ("confidence", "inputs", "losses"),
    ("genotypes", "data", "bounds", "attacks"),
    ("interchange", "networks", "plots", "runtime"),
    ("measures",),
    ("search", "training"),
    ("series",),
    ("evaluation",),
    ("comparison", "sweeps"),
    ("reproduction",),
    ("commands",),
    ("__main__",),
)
FLOOR = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders}


def test_contributors_are_told_the_floors():
    rows = [line for line in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = [set(re.findall("`([a-z_]+)`", row.split("|")[1])) for row in rows]
    assert told == [set(floor) for floor in reversed(FLOORS) if floor != ("__main__",)]


def test_every_folder_of_the_package_has_its_tests():
    def folders(root):
        return {path.name for path in root.iterdir() if any(path.glob("*.py"))}

    others = {"experiments", "golden", "helpers", "project"}
    assert folders(ROOT / "tests") == folders(ROOT / PACKAGE) | others


def modules(root):
    """Dotted name -> file of every module of the package below `root`."""
    files = sorted((root / PACKAGE).rglob("*.py"))
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imported(tree, known):
    """Names of the modules that a module's source imports: those among `known`, others by their dotted name."""
    run = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    names = set()
    for node in (inner for outer in run for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: expected an absolute import"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in inside}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {part.value for part in node.args[:1] if isinstance(part, ast.Constant)}
    return names


def arrows(root):
    """Module -> the modules it imports, for every module of the package below `root`."""
    files = modules(root)
    return {name: imported(ast.parse(file.read_text(encoding="utf-8")), files) for name, file in files.items()}


def folder(module):
    """The part of the package, `bounds` of `dsrna_jax.bounds.api`, that a module belongs to; none for the package itself."""
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def misdirected(graph):
    """Imports between folders that do not go down: upward ones and those between neighbours."""
    return [
        f"{module} imports {target}"
        for module, targets in graph.items()
        for target in sorted(targets)
        if folder(module) and folder(target) and folder(module) != folder(target)
        if FLOOR[folder(target)] >= FLOOR[folder(module)]
    ]


def circle(graph):
    """Modules that import each other in a circle; none if there is no circle."""
    done, path = set(), []

    def visit(module):
        if module in path:
            return path[path.index(module) :] + [module]
        if module in done or module not in graph:
            return []
        path.append(module)
        for target in sorted(graph[module]):
            if closed := visit(target):
                return closed
        done.add(path.pop())
        return []

    return next((closed for module in graph if (closed := visit(module))), [])


@pytest.fixture(scope="module")
def graph():
    return arrows(ROOT)


def test_every_folder_and_file_of_the_package_has_a_floor():
    entries = {path.stem for path in (ROOT / PACKAGE).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert entries - {"__init__"} <= set(FLOOR)


def test_imports_between_folders_go_down(graph):
    assert misdirected(graph) == []


def test_no_circle_of_imports(graph):
    assert circle(graph) == []


def test_the_package_imports_no_experiment_and_nothing_private_of_jax(graph):
    strangers = {(module, target) for module, targets in graph.items() for target in targets}
    private = ("experiments", "tests", "jax._src", "jax.core", "jaxlib")
    assert [pair for pair in strangers if pair[1].startswith(private)] == []


@pytest.mark.parametrize(
    ("source", "is_misdirected", "is_circular"),
    [
        ("from dsrna_jax.runtime import loop", True, False),
        ("def f():\n    import dsrna_jax.commands.flags", True, False),
        ("from dsrna_jax.attacks import pgd", True, False),
        ("from dsrna_jax.bounds.api import bound", False, True),
        ("def f():\n    from dsrna_jax.bounds import api", False, True),
        ("def f():\n    return import_module('dsrna_jax.bounds.api').bound", False, True),
        ("if TYPE_CHECKING:\n    from dsrna_jax.runtime import loop", False, False),
        ("from dsrna_jax.errors import InputError\nimport jax", False, False),
    ],
)
def test_misdirected_imports_and_circles_are_found(source, is_misdirected, is_circular, tmp_path):
    """In a package of three modules: `bounds.balls` holds `source`, and `bounds.api` imports it."""
    for name, text in (
        ("bounds/__init__", ""), ("bounds/balls", source), ("bounds/api", "from dsrna_jax.bounds import balls"),
        ("attacks/pgd", ""), ("runtime/loop", ""), ("commands/flags", ""), ("errors", ""),
    ):  # fmt: skip
        path = tmp_path / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    graph = arrows(tmp_path)
    assert (bool(misdirected(graph)), bool(circle(graph))) == (is_misdirected, is_circular)


def test_no_class_has_the_name_of_another():
    """Private ones count too: who reads a name is to know which class it is."""
    homes = {}
    for name, file in modules(ROOT).items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name)
    assert not {name: where for name, where in homes.items() if len(where) > 1}


def test_maxima_and_minima_keep_nan():
    """XLA loses it (`kernels.reductions.max_over`): bounds say by NaN that nothing is known, attacks that there are no logits."""
    raw = set()
    for folder in ("bounds", "attacks", "measures", "losses"):
        for name, file in modules(ROOT).items():
            if name.split(".")[1:2] == [folder]:
                raw |= {
                    f"{file.name}: {call}" for call in map(ast.unparse, reductions(ast.parse(file.read_text(encoding="utf-8"))))
                }
    assert raw == {
        "step.py: jnp.min(jnp.where(may_lead, places, len(x)), 0)",  # of whole numbers
        "step.py: jnp.max(jnp.where(may_lead, places, -1), 0)",
        "jacobian.py: jnp.max(jnp.abs(values), tuple(range(1, values.ndim)), initial=0)",  # what it divides keeps NaN
    }


def reductions(tree):
    """Calls of `x.max(...)` and `jnp.max(...)`, and of their like; not those of NumPy, and not `x.at[...].max(...)`."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ("max", "min", "amax", "amin")
        ):
            of = ast.unparse(node.func.value)
            if of != "np" and ".at[" not in of:
                yield node


def test_no_value_is_called_found():
    """A value is called after what it is, not after how it came about."""
    names = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in modules(ROOT).values()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.arg) and (node.id if isinstance(node, ast.Name) else node.arg) == "found"
    }
    assert not names
