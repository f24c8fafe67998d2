"""Tables of latencies: the time that each part of a network takes on one machine, as a JSON file."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.files import write_whole
from dsrna_jax.networks.plan import Part
from dsrna_jax.runtime.machine import HARDWARE, hardware
from dsrna_jax.runtime.options import interval

_COUNT = (int, interval("[1, 1e9]"))
_ROW = {name: _COUNT for name in Part._fields} | {"name": str, "milliseconds": interval("(0, 1e9]")}
_SHAPE = {"machine": HARDWARE, "jax": str, "batch_size": _COUNT, "parts": [_ROW]}
MAKE = "python -m experiments.benchmark --what=latency makes one"


class LatencyTable(NamedTuple):
    """Milliseconds of each part of a network for a batch of `batch_size` images, as measured on a machine.

    machine: as `runtime.machine.hardware` has it.
    """

    machine: Mapping[str, Any]
    batch_size: int
    milliseconds: Mapping[Part, float]

    def save(self, path: str | os.PathLike) -> None:
        """Writes the table, with the version of JAX that measured it for the reader."""
        rows = [part._asdict() | {"milliseconds": time} for part, time in self.milliseconds.items()]
        content = {"machine": self.machine, "jax": jax.__version__, "batch_size": self.batch_size, "parts": rows}
        lines = ",\n".join(f"    {json.dumps(row)}" for row in content.pop("parts"))
        head = json.dumps(content, indent=2).removesuffix("\n}")
        write_whole(path, f'{head},\n  "parts": [\n{lines}\n  ]\n}}\n')


def load(path: str | os.PathLike) -> LatencyTable:
    """The table in a file. Raises: InputError if there is none, or if it was measured on another machine than this one."""
    try:
        content = strict_json.read(path, _SHAPE)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no latency table {path}: {MAKE}") from None
    there, here = content["machine"], hardware()
    if differing := [name for name in here if there[name] != here[name]]:
        was, now = (", ".join(f"{name} {machine[name]}" for name in differing) for machine in (there, here))
        raise InputError(f"{path} was measured on another machine ({was}; here {now}): {MAKE}")
    milliseconds = {Part(*(row[name] for name in Part._fields)): float(row["milliseconds"]) for row in content["parts"]}
    if len(milliseconds) < len(content["parts"]):
        raise InputError(f"{path} has two rows of one part: expected one of each")
    return LatencyTable(there, content["batch_size"], milliseconds)
