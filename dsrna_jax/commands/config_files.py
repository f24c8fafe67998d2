"""Configurations from files: the config.json of a run, or a file of fields as JSON or YAML."""

from pathlib import Path
from typing import Any, TypeVar

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, shown
from dsrna_jax.runtime.options import in_todays_names

Config = TypeVar("Config")
_YAML = (".yaml", ".yml")


def read_config(path: str, kind: type[Config]) -> Config:
    """The configuration in a file; fields that it lacks have their defaults.

    Args:
      path: a run folder, its config.json (or attack.json, certify.json), or a file of fields: YAML by its suffix, else JSON.
      kind: the dataclass of the configuration.
    Raises: InputError if there is none, or if it is that of another command, has unknown fields, or values that are not allowed.
    """
    file = Path(path) / "config.json" if Path(path).is_dir() else Path(path)
    try:
        content = _yaml(file) if file.suffix in _YAML else strict_json.read(file, {})
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"config={shown(path)}: no such file") from None
    experiment, own = content.get("experiment"), getattr(kind, "experiment", None)
    if experiment is not None and own is not None and experiment != own:
        raise InputError(f"config={shown(path)} is of a {shown(experiment)}, not of a {own}")
    fields = in_todays_names(kind, content["config"] if isinstance(content.get("config"), dict) else content)
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    if strange := sorted(set(fields) - set(known) - {"experiment"}):
        raise InputError(f"config={shown(path)} has {shown(strange[0])}, which is no field: expected some of {', '.join(known)}")
    try:
        return kind(**{name: value for name, value in fields.items() if name != "experiment"})
    except InputError as error:
        raise InputError(f"config={shown(path)}: {error}") from None


def _yaml(file: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises: FileNotFoundError; InputError if it is none, or if PyYAML is not installed."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise InputError(f"{file} needs PyYAML: pip install pyyaml, or give JSON") from None
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: expected YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{file}: expected a field and its value in each line, such as `epochs: 5`")
    return content
