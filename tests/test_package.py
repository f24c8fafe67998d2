"""The package: its public names, what importing it costs, what its wheel holds."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import dsrna_jax

ROOT = Path(__file__).parents[1]
LAZY = ["dsrna_jax", "dsrna_jax.bounds", "dsrna_jax.genotypes"]


def modules_after(code, *names):
    """Which of the top-level packages `names` a fresh interpreter has imported after `code`."""
    report = f"{code}\nimport sys; print(*sorted(set({names!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", report], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", LAZY)
def test_every_public_name_resolves_and_is_listed(name):
    package = importlib.import_module(name)
    for public in package.__all__:
        assert getattr(package, public) is not None
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'absent'"):
        package.__getattr__("absent")


@pytest.mark.parametrize("name", LAZY)
def test_type_checkers_see_every_public_name(name):
    """The imports under TYPE_CHECKING name the same objects as the lazy attributes."""
    package = importlib.import_module(name)
    tree = ast.parse(Path(package.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    namespace = {}
    exec(compile(ast.Module(block.body, []), package.__file__, "exec"), namespace)
    eager = {node.targets[0].id for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)}
    assert {*namespace} - {"__builtins__"} == {*package.__all__} - eager
    assert all(getattr(package, public) is value for public, value in namespace.items() if public != "__builtins__")


@pytest.mark.parametrize("name", LAZY)
def test_lazy_names_differ_from_submodules(name):
    """Importing a submodule of the same name would replace the lazy attribute."""
    package = importlib.import_module(name)
    submodules = {path.stem for path in Path(package.__file__).parent.glob("*")}
    assert all(getattr(package, public).__name__ == f"{name}.{public}" for public in submodules & set(package.__all__))


def test_importing_the_package_imports_neither_jax_nor_numpy():
    assert modules_after("import dsrna_jax, dsrna_jax.bounds, dsrna_jax.genotypes", "jax", "numpy", "flax", "matplotlib") == []


def test_attribute_access_imports_what_it_needs():
    assert modules_after("import dsrna_jax; dsrna_jax.bounds.margin, dsrna_jax.jacobian_norm", "jax", "numpy") == ["jax", "numpy"]
    assert modules_after("import dsrna_jax; dsrna_jax.zoo.names()", "jax", "numpy") == ["numpy"]


def test_version_is_the_installed_one():
    from importlib import metadata

    assert dsrna_jax.__version__ == metadata.version("dsrna_jax")
