"""Checks of the function and of the memory that its bounds need."""

from collections.abc import Callable

import numpy as np

from dsrna_jax.bounds.explanation import cost, shortage
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.rules.building import Rule
from dsrna_jax.bounds.rules.registry import RULES
from dsrna_jax.bounds.tracing import trace
from dsrna_jax.errors import InputError
from dsrna_jax.inputs import is_known


def traced(f: Callable, x, rules: dict[str, Rule] | None = None) -> Graph:
    """The graph of f at x, by `RULES` or others. Raises: InputError if f(x) is known and not finite, or as `trace`."""
    graph = trace(f, x, RULES if rules is None else rules)
    value = graph.output.value
    if is_known(value) and not np.all(np.isfinite(np.asarray(value))):
        if np.any(np.isneginf(np.asarray(value))):
            raise InputError("f(x) holds -inf, which has no bounds: leave out what a mask hides, or hide it by -1e9")
        raise InputError("f(x) is not finite: its weights or x hold NaN or infinity")
    return graph


def check_rows(rows, output) -> None:
    """Raises: InputError unless rows are functionals [row, batch, ...] of the output, at least one."""
    if np.ndim(rows) != np.ndim(output) + 1 or np.shape(rows)[1:] != np.shape(output) or len(rows) == 0:
        wanted = ", ".join(map(str, ("row", *np.shape(output))))
        raise InputError(f"rows must be functionals [{wanted}] of f(x), at least one, got shape {list(np.shape(rows))}")


def check_memory(graph: Graph, options: Options) -> None:
    """Raises: InputError if a method would take more memory, by estimate, than the device has free."""
    if lack := shortage(cost(graph, options)):
        raise InputError(
            f"{options.method} would take about {lack}: take fewer examples at once, a smaller chunk than {options.chunk}, or a "
            "cheaper method (bounds.explain lists them)"
        )
