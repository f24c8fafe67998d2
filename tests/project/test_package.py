"""The package: its public names, what importing it costs, what its wheel holds."""

import ast
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import dsrna_jax
from dsrna_jax.extras import EXTRAS, packages_for

ROOT = Path(__file__).parents[2]
LAZY = ["dsrna_jax", *(f"dsrna_jax.{name}" for name in ("bounds", "evaluation", "genotypes", "interchange", "networks"))]


def modules_after(code, *names):
    """The packages among `names` that a fresh interpreter has imported after `code`."""
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


def test_signatures_are_checked_in_tests():
    """Shapes, dtypes, and that dimensions of one name are equal: by the import hook in conftest.py, so in tests alone."""
    labels, floats = np.zeros(4, np.int32), np.zeros(4, np.float32)
    images = np.zeros((4, 2, 2, 1), np.uint8)
    assert len(dsrna_jax.data.Dataset("name", images, labels, ("a", "b"))) == 4
    for arrays in ((images[0], labels), (images, floats), (images, labels[:3])):
        with pytest.raises(TypeError):
            dsrna_jax.data.Dataset("name", *arrays, ("a", "b"))


CORE = "import dsrna_jax; dsrna_jax.bounds.margin, dsrna_jax.attacks.pgd, dsrna_jax.jacobian_norm, dsrna_jax.genotypes.load"


def test_the_core_imports_nothing_of_the_extras():
    extras = ("flax", "orbax", "matplotlib", "PIL", "sklearn", "tensorflow_datasets", "chex")
    assert modules_after(CORE, "jax", "optax", *extras) == ["jax", "optax"]


USES = {  # what a user calls, and the package and the extra that it needs
    "dsrna_jax.networks.supernet": ("flax", "search"),
    "dsrna_jax.restore": ("flax", "search"),
    "dsrna_jax.pretrained('digits_pcdarts')": ("flax", "search"),
    "dsrna_jax.plots": ("matplotlib", "plots"),
    "dsrna_jax.data.load('digits', 'test')": ("sklearn", "search"),
    "dsrna_jax.interchange.read_onnx('a.onnx')": ("onnx", "onnx"),
}
WITHOUT_PACKAGES = """
import sys
import dsrna_jax
for use, (package, _) in {uses}.items():
    sys.modules[package] = None
    try:
        eval(use)
    except ValueError as error:
        print(error)
"""


def test_a_missing_package_is_named_with_its_extra():
    code = WITHOUT_PACKAGES.format(uses=USES)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    for line, (package, extra) in zip(done.stdout.splitlines(), USES.values(), strict=True):
        assert line.endswith(f"the package {package} is missing: pip install 'dsrna_jax[{extra}]'")


def test_a_missing_package_is_a_module_that_is_not_found():
    with pytest.raises(ModuleNotFoundError, match="a use: the package absent is missing") as caught, packages_for("a use"):
        import absent.module  # noqa: F401
    assert caught.value.name == "absent" and isinstance(caught.value, ValueError)
    with pytest.raises(ModuleNotFoundError, match="No module"), packages_for("a mistake of our own"):
        import dsrna_jax.absent  # noqa: F401


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(("module", "extra"), EXTRAS.items())
def test_an_extra_installs_the_module_that_it_is_named_for(module, extra):
    assert any(re.match(rf"{module}\b", requirement) for requirement in PROJECT["optional-dependencies"][extra])


def test_requirements_are_the_core_and_the_extra_all():

    def requirements(lines):
        for line in lines:
            if line.startswith("dsrna_jax["):
                yield from requirements(PROJECT["optional-dependencies"][line.removeprefix("dsrna_jax[").rstrip("]")])
            elif line and not line.startswith("#"):
                yield line

    whole = (ROOT / "requirements.txt").read_text().splitlines()
    assert sorted(requirements(whole)) == sorted(requirements([*PROJECT["dependencies"], "dsrna_jax[all]"]))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this source, built without network, in a copy: building leaves files behind."""
    source, out = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "runs", "docs")
    shutil.copytree(ROOT, source, ignore=ignored)
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", str(out), str(source)], check=True)
    (path,) = out.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_the_package_alone_and_all_of_it(wheel):
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    files = {str(file.relative_to(ROOT)) for file in (ROOT / "dsrna_jax").rglob("*") if file.suffix != ".pyc" and file.is_file()}
    assert inside == files and {"dsrna_jax/py.typed", "dsrna_jax/genotypes/zoo.json"} <= inside


def test_the_wheel_has_the_version_and_the_console_command(wheel):
    (metadata,) = [name for name in wheel.namelist() if name.endswith("METADATA")]
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert f"\nVersion: {dsrna_jax.__version__}\n" in wheel.read(metadata).decode()
    (entry,) = [line for line in wheel.read(entry_points).decode().splitlines() if line.startswith("dsrna_jax =")]
    module, function = entry.removeprefix("dsrna_jax = ").split(":")
    assert callable(getattr(importlib.import_module(module), function))
