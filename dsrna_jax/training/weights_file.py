"""Trained networks in safetensors files: arrays by name, the description of the network as metadata, checked by a digest."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, shown
from dsrna_jax.extras import packages_for
from dsrna_jax.files import replacing
from dsrna_jax.runtime.checkpoint import Restored
from dsrna_jax.runtime.options import interval

SUFFIX = ".safetensors"
_JSON = ("genotype", "config", "data")
_FOR = "safetensors files"


def write(path: str | os.PathLike, variables: Mapping[str, Any], metadata: Mapping[str, str]) -> int:
    """Writes the arrays of nested dicts under `named`, with that metadata; returns their number.

    Raises: InputError if the package safetensors is absent, or if the file does not hold what was written to it.
    """
    with packages_for(_FOR):
        from safetensors.numpy import load_file, save
    arrays = {name: np.ascontiguousarray(array) for name, array in named(variables).items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(arrays, dict(metadata)))  # safetensors' own files are readable by their owner alone
        saved = load_file(temporary)
        if set(saved) != set(arrays) or any(not np.array_equal(saved[name], arrays[name]) for name in arrays):
            raise InputError(f"{path} does not hold what was written to it: is the disk full?")
    return len(arrays)


def read(path: str | os.PathLike) -> Restored:
    """The step, the metadata ("config", "genotype", "data") and the variables ("params", "batch_stats") in a file.

    Raises: InputError if there is no such file, if it is damaged or not one of a training, or if safetensors is absent.
    """
    with packages_for(_FOR):
        from safetensors import SafetensorError, safe_open
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}: expected a network that dsrna_jax export --to=safetensors wrote")
    try:
        with safe_open(path, "numpy") as file:
            texts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise InputError(f"cannot read {path} as safetensors: {' '.join(str(error).split())[:120]}") from None
    if missing := [name for name in ("digest", "step", *_JSON) if name not in texts]:
        raise InputError(
            f"{path} lacks the metadata {', '.join(missing)}: expected a network that dsrna_jax export --to=safetensors wrote"
        )
    try:
        metadata = {name: strict_json.parsed(texts[name]) for name in _JSON}
        step = strict_json.parsed(texts["step"])
        strict_json.check(step, (int, interval("[0, 1e15]")), "step")
        variables = nested(arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if (own := digest(variables)) != texts["digest"]:
        raise InputError(
            f"{path} is damaged: its weights have the digest {own}, expected {shown(texts['digest'])}; restore it from a copy"
        )
    return Restored(step, metadata, variables)


def description(metadata: Mapping[str, Any], step: int, variables: Mapping[str, Any]) -> dict[str, str]:
    """The metadata that `read` expects, as texts: genotype, configuration and data as JSON, step, digest of the variables."""
    texts = {name: json.dumps(metadata[name], sort_keys=True) for name in _JSON}
    return {"digest": digest(variables), "step": str(step), **texts}


def named(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The leaves of a nested dict by their keys joined with dots, such as "params.cell_0.preprocess_0.kernel"."""
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    return {".".join(str(key.key) for key in where): np.asarray(leaf) for where, leaf in leaves}


def nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The nested dict whose `named` leaves these are. Raises: InputError if one name is the beginning of another."""
    whole: dict[str, Any] = {}
    for name in sorted(arrays):
        *parents, last = name.split(".")
        inner = whole
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise InputError(f"expected the array {name} or one named as its beginning, got both")
        inner[last] = arrays[name]
    return whole


def digest(variables: Any) -> str:
    """Fingerprint of names and values of a pytree of arrays, in hexadecimal."""
    state = hashlib.sha256()
    for where, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        state.update(jax.tree_util.keystr(where).encode() + np.asarray(leaf).tobytes())
    return state.hexdigest()[:16]
