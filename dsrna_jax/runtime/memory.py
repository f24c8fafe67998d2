"""The device memory that a function needs, estimated before it is compiled, and what there is of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jax.sharding import Mesh

from dsrna_jax.bounds.explanation import free_memory, memory_of_device, readable
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.processes import current


def memory_of(mesh: Mesh) -> AbstractContextManager[None]:
    """A context in which functions are traced for the devices of `mesh`: bounds are refused by the memory that is free there.

    All processes of a run get the same verdict: by the least of what their devices have free. For devices that are not here, as
    those of a description, the memory is unknown and nothing is refused.
    """
    is_here = mesh.devices.flat[0] in jax.devices()
    known = [free for free in current().gathered(free_memory() if is_here else None) if free is not None]
    return memory_of_device(min(known, default=None))


def peak_bytes(f: Callable, *arguments: Any) -> int:
    """Estimate of the most memory, in bytes, that `f` of `arguments` (arrays or shapes) holds at once.

    It assumes that operations run one by one in the order of the trace, and that each result lives until its last use. XLA fuses
    and reorders them, and may need more or less.
    """
    return _peak(jax.make_jaxpr(f)(*arguments).jaxpr)


def _peak(jaxpr: Jaxpr) -> int:
    last_use = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in eqn.invars if not isinstance(v, Literal)}
    kept = {v for v in (*jaxpr.invars, *jaxpr.constvars, *jaxpr.outvars) if not isinstance(v, Literal)}
    live = peak = sum(map(_bytes, {*jaxpr.invars, *jaxpr.constvars}))
    for index, eqn in enumerate(jaxpr.eqns):
        results = sum(map(_bytes, eqn.outvars))
        inside = [_peak(inner) - sum(map(_bytes, inner.invars)) for inner in _inner(eqn.params)]
        peak = max(peak, live + max([results, *inside]))
        live += results
        ended = {v for v in (*eqn.invars, *eqn.outvars) if not isinstance(v, Literal) and last_use.get(v, -1) <= index}
        live -= sum(map(_bytes, ended - kept))
    return peak


def _inner(parameters: dict) -> list[Jaxpr]:
    values = [v for value in parameters.values() for v in (value if isinstance(value, tuple | list) else [value])]
    return [v.jaxpr if isinstance(v, ClosedJaxpr) else v for v in values if isinstance(v, ClosedJaxpr | Jaxpr)]


def _bytes(variable) -> int:
    aval = variable.aval
    return math.prod(aval.shape) * getattr(aval.dtype, "itemsize", 4) if hasattr(aval, "shape") else 0


def estimates(programs: Mapping[str, tuple[Callable, Sequence[Any]]], remat: bool = False) -> list[str]:
    """Lines of text: a headline, the estimate for each function by name, and warnings if they exceed the free memory.

    Args:
      programs: by name, a function and its arguments (arrays or shapes).
      remat: whether they compute the maps of cells again to save memory; then a line says what that costs.
    """
    lines = ["memory of one device, estimated without compiling (XLA may take up to twice as much):"]
    warnings, most, free = [], 0, free_memory()
    for name, (f, arguments) in programs.items():
        called = name.replace("_", " ")
        try:
            peak = peak_bytes(f, *arguments)
        except InputError as error:  # bounds check their memory themselves
            lines.append(f"  {called}: more than there is")
            warnings.append(f"WARN: the {called} cannot run here: {error}")
            continue
        lines.append(f"  {called}: {peak / 1e6:,.0f} MB")
        most = max(most, peak)
    if remat:
        lines.append("  by remat, which computes the maps of cells once more in each backward pass: a third more operations")
    if free is not None and most > free:
        warnings.append(
            f"WARN: {readable(free)} are free on this device: give a smaller batch_size, channels or cells, --microbatch, "
            "--remat or --precision=bfloat16, or run it elsewhere"
        )
    return lines + warnings
