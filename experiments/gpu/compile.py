"""Compiles the programs of searches, trainings, attacks and bounds for an H100 that is not there; one JSON line for each.

    make gpu-compile                             a search step of 3 cells and the like, minutes each
    make gpu-compile ARGS="--full"               at the sizes of the paper, half an hour
    make gpu-compile ARGS="--only=bounds"

It needs no GPU, but JAX's plugin for CUDA, which `make gpu-compile` installs into an environment of its own. A line says
`kernels`, `bytes`, `memory` and `collectives` of a call on one device, or by what `error` the compiler failed: exit status 1.
No times, and no choice of algorithms by the CUDA libraries.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.process import execute
from dsrna_jax.errors import InputError, shown
from experiments.gpu.apart import row_of


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong."""
    values = no_flags()
    define(values, "full", False, "all programs, at the sizes of the paper")
    define(values, "only", [], "names of the programs that are compiled")
    define(values, "texts", "", "folder for the compiled programs as XLA writes them")
    define(values, "here", False, "in this process, which an abort of the compiler ends")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    from experiments.gpu.programs import PROGRAMS, SMALL  # imports much, which --help need not wait for

    if unknown := [name for name in values.only if name not in PROGRAMS]:
        raise InputError(f"only={shown(unknown[0])}: expected one of {', '.join(PROGRAMS)}")
    names = values.only or (PROGRAMS if values.full else SMALL)
    if values.here:
        for name in names:
            print(json.dumps(compiled(name, "full" if values.full else "small", values.texts)), flush=True)
        return
    failed = []
    for name in names:
        row = row_of("experiments.gpu.compile", name, argv[1:], {"JAX_PLATFORMS": "cpu"})
        failed += [name] if "error" in row else []
        print(json.dumps(row), flush=True)
    if failed:
        raise InputError(f"XLA does not compile {', '.join(failed)} for a GPU: the lines above say why")


def compiled(name: str, size: str, texts: str = "") -> dict:
    """The line of a program that is compiled here; `memory` is what it allocates beside and for its arguments and results."""
    import jax

    from experiments.gpu.counts import counts
    from experiments.gpu.programs import PROGRAMS, SIZES, lowered
    from experiments.gpu.target import OPTIONS, mesh

    program, began = PROGRAMS[name], _cpu_seconds()
    lowering = lowered(program, SIZES[size], mesh(program.devices))
    traced = _cpu_seconds()
    executable = lowering.compile(compiler_options=OPTIONS)
    seconds = {"trace_cpu_s": round(traced - began, 1), "compile_cpu_s": round(_cpu_seconds() - traced, 1)}
    text, memory = executable.as_text(), executable.memory_analysis()
    if texts:
        Path(texts).mkdir(parents=True, exist_ok=True)
        (Path(texts) / f"{name}.txt").write_text(text, encoding="utf-8")
    parts = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    where = {"devices": program.devices, "target": "H100", "jax": jax.__version__}
    return {"name": name, "size": size} | counts(text) | {"memory": parts} | seconds | where


def _cpu_seconds() -> float:
    """CPU time of this process and of those that it has waited for, such as ptxas: the same on a busy machine."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    execute(main)
