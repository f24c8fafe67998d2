"""Configurations from files: the config.json of a run, or a file of fields as JSON or YAML."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import text_of
from dsrna_jax.runtime.options import in_todays_names

Config = TypeVar("Config")
_YAML = (".yaml", ".yml")
_FILES = ("config.json", "attack.json", "certify.json")  # of a run folder, or of the folder of an evaluation
_TRUTHS = {"true": True, "false": False}


def read_config(path: str, kind: type[Config]) -> Config:
    """The configuration in a file; fields that it lacks have their defaults.

    Args:
      path: the folder of a run, an attack or a certification, its config.json, attack.json or certify.json, or a file of fields:
        YAML by its suffix, else JSON.
      kind: the dataclass of the configuration.
    Raises: InputError if there is none, or if it is that of another command, has unknown fields, or values that are not allowed.
    """
    file = Path(path)
    try:
        if file.is_dir():
            there = [file / name for name in _FILES if (file / name).is_file()]
            if not there:
                raise InputError(f"config={shown(path)} is a folder without {', '.join(_FILES[:-1])} or {_FILES[-1]}")
            file = there[0]
        is_yaml = file.suffix in _YAML
        content = _yaml(file) if is_yaml else strict_json.read(file, {})
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"config={shown(path)}: no such file") from None
    except (OSError, ValueError) as error:  # a name that is too long, or holds NUL
        if isinstance(error, InputError):
            raise
        raise InputError(f"config={shown(path)}: {getattr(error, 'strerror', None) or error}") from None
    experiment, own = content.get("experiment"), getattr(kind, "experiment", None)
    if experiment is not None and own is not None and experiment != own:
        raise InputError(f"config={shown(path)} is of a {shown(experiment)}, not of a {own}")
    fields = in_todays_names(kind, content["config"] if isinstance(content.get("config"), dict) else content)
    known = {field.name: field for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    if strange := sorted(set(fields) - set(known) - {"experiment"}):
        raise InputError(f"config={shown(path)} has {shown(strange[0])}, which is no field: expected some of {', '.join(known)}")
    values = {name: value for name, value in fields.items() if name != "experiment"}
    if is_yaml:
        values = {name: _of_type(value, known[name].type) for name, value in values.items()}
    try:
        return kind(**values)
    except InputError as error:
        raise InputError(f"config={shown(path)}: {error}") from None


def _of_type(value: Any, kind: Any) -> Any:
    """A text as a truth value or a number where a field has one, as flags are read; what is none stays a text."""
    if kind is bool and isinstance(value, str):
        return _TRUTHS.get(value.lower(), value)
    for read in (int, float) if kind in (int, float) and isinstance(value, str) else ():
        try:
            return read(value)
        except ValueError:
            continue
    return value


def _yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file, all values as texts.

    Raises: as `files.text_of`; InputError if it is none, if it has a field twice, or if PyYAML is not installed.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise InputError(f"{file} needs PyYAML: pip install pyyaml, or give JSON") from None
    try:
        tree = yaml.compose(text_of(file), Loader=yaml.BaseLoader)
        return _mapping(tree, file)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{file}: expected YAML: {' '.join(str(error).split())[:200]}") from None


def _mapping(tree: Any, file: Path) -> dict[str, Any]:
    """The fields of a mapping of YAML, and those of mappings in it. Raises: InputError for all else, and for a field twice."""
    fields: dict[str, Any] = {}
    pairs = tree.value if getattr(tree, "id", "") == "mapping" else None
    if pairs is None or not all(name.id == "scalar" for name, _ in pairs):
        raise InputError(f"{file}: expected a field and its value in each line, such as `epochs: 5`")
    for name, value in pairs:
        if name.value in fields:
            raise InputError(f"{file}: expected each field once, got {shown(name.value)} twice")
        fields[name.value] = _content(value, file)
    return fields


def _content(value: Any, file: Path) -> Any:
    """A value of YAML: a text, a mapping, or a list of these."""
    if value.id == "sequence":
        return [_content(one, file) for one in value.value]
    return value.value if value.id == "scalar" else _mapping(value, file)
