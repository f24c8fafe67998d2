"""The cost of bounds, estimated before anything runs."""

import collections
import contextlib
import contextvars
import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax

from dsrna_jax.bounds import METHODS
from dsrna_jax.bounds.alpha_crown import is_adjustable
from dsrna_jax.bounds.backward import ROW_BUFFERS
from dsrna_jax.bounds.forward import relaxed_inputs
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.refinement import intermediate_names
from dsrna_jax.bounds.rows import Rows, whole_rows_at_once, window_axes
from dsrna_jax.bounds.windows import frames, held

ZONOTOPE_BUFFERS = 4  # a layer's generators and the next one's; a convolution on a CPU transposes both
SLOPE_BUFFERS = 9  # estimate of the arrays, of the size of all slopes, that their optimisation holds

_given: contextvars.ContextVar[tuple[int | None] | None] = contextvars.ContextVar("free memory", default=None)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Estimates of the cost of a method.

    passes: work, in evaluations of f on the same batch.
    bytes: peak memory.
    """

    passes: float
    bytes: int


@dataclasses.dataclass(frozen=True)
class Explanation:
    """The structure of a function, and the cost of bounding all its outputs.

    operations: number of each relaxed kind, and of "affine" ones.
    neurons: entries of one example that relaxations start from.
    outputs: entries of its output.
    widest: entries of its largest value.
    costs: by method.
    """

    operations: dict[str, int]
    neurons: int
    outputs: int
    widest: int
    costs: dict[str, Cost]

    def __str__(self):
        counts = ", ".join(f"{count} {name}" for name, count in self.operations.items())
        head = f"{counts}\n{self.neurons:,} neurons to relax, {self.outputs} outputs, widest value {self.widest:,} an example\n"
        rows = [f"{'method':<12} {'clean passes':>13} {'memory':>10}"]
        rows += [f"{name:<12} {cost.passes:>13,.0f} {readable(cost.bytes):>10}" for name, cost in self.costs.items()]
        return head + "\n".join(rows)


def readable(size: int) -> str:
    """A number of bytes as text, such as "3.2 GB"."""
    power = min(int(math.log(max(size, 1), 1000)), 5)
    return f"{size / 1000**power:.{1 if power else 0}f} {'B kB MB GB TB PB'.split()[power]}"


def explanation(graph: Graph, chunk: int, iterations: int) -> Explanation:
    """The `Explanation` of a graph."""
    relaxed = [n for n in graph.nodes if n.operation is not None and not isinstance(n.operation, Linear)]
    kinds = collections.Counter(n.name.rsplit("_", 1)[0] for n in relaxed)
    operations = {"affine": sum(isinstance(n.operation, Linear) for n in graph.nodes)} | dict(kinds)
    costs = {method: cost(graph, Options(method=method, chunk=chunk, iterations=iterations)) for method in METHODS}
    neurons = sum(n.size for n in relaxed_inputs(graph))
    return Explanation(operations, neurons, graph.output.size, max(n.size for n in graph.nodes), costs)


def cost(graph: Graph, options: Options) -> Cost:
    """The `Cost` of bounding all outputs of a graph; of alpha_crown if it takes all steps for all rows."""
    method, is_shared = options.method, options.ascent.shared
    total = sum(node.size for node in graph.nodes)
    item, batch = graph.output.value.dtype.itemsize, graph.output.value.shape[0]
    values = item * batch * total
    if method == "ibp":
        return Cost(3, 3 * values)
    of_output = _Backward.of(graph, graph.output, options, batch)
    last, rows = of_output.passes(total), of_output.bytes(batch, item)
    if method == "crown_ibp":
        return Cost(3 + last, 3 * values + rows)
    if method == "hz_crown":
        inputs, widest = sum(leaf.size for leaf in graph.inputs), max(n.size for n in graph.nodes)
        return Cost(3 + inputs + 2 * last, 3 * values + ZONOTOPE_BUFFERS * inputs * batch * widest * item + rows)
    names = intermediate_names(graph)
    starts = [_Backward.of(graph, node, options, batch) for node in names if names[node] not in (options.given or ())]
    passes = 3 + last + sum(back.passes(total) for back in starts)
    peak = max(back.bytes(batch, item) for back in (of_output, *starts))
    if method == "fastlin":
        return Cost(passes, 5 * values + peak)
    if method == "crown":
        return Cost(passes + last, 5 * values + peak)
    climbs = [back for back in (of_output, *starts) if back.shares]
    passes += last + sum(back.passes(total) for back in climbs) * (3 * options.iterations + 2)
    return Cost(passes, 5 * values + max([peak, *(back.bytes_of_climb(batch, item, is_shared) for back in climbs)]))


class _Backward(NamedTuple):
    """Backward passes for the entries of a node.

    entries: of the node.
    rows: in a pass.
    widest: the most entries of an array that a row needs.
    work: the entries of all functionals of a row.
    shares: of adjustable operations among them.
    """

    entries: int
    rows: int
    widest: int
    work: int
    shares: int

    @classmethod
    def of(cls, graph: Graph, node: Node, options: Options, batch: int) -> "_Backward":
        rows = Rows(node, window_axes(graph, node))
        sizes = [(below, held(below, frame)) for below, frame in frames(graph, node, rows.frame)]
        widest = max(size for _, size in sizes)
        shares = sum(size * (1 + below.operation.has_two_shares) for below, size in sizes if is_adjustable(below))
        at_once = 2 * min(node.size, rows.at_once(graph, options.chunk, batch))
        if node is graph.output and not rows.axes and not options.ascent.shared:
            at_once = whole_rows_at_once(graph, at_once)
        return cls(node.size, at_once, widest, sum(size for _, size in sizes), shares)

    def passes(self, total: int) -> float:
        """The passes for both sides of all entries, in evaluations of a function whose values have so many entries."""
        return 2 * self.entries * self.work / total

    def bytes(self, batch: int, item: int) -> int:
        return round(self.rows * batch * self.widest * item * ROW_BUFFERS)

    def bytes_of_climb(self, batch: int, item: int, is_shared: bool) -> int:
        """`bytes`, if slopes are optimised: derivatives keep every functional, and Adam some arrays of slopes."""
        slopes = SLOPE_BUFFERS * self.shares * (1 if is_shared else self.rows)
        return self.bytes(batch, item) + round(batch * (self.rows * self.work + slopes) * item)


def shortage(cost: Cost) -> str | None:
    """The need of a method and what there is, such as "3.2 GB, and 1.0 GB are free"; None if its memory suffices."""
    free = free_memory()
    return f"{readable(cost.bytes)}, and {readable(free)} are free" if free is not None and cost.bytes > free else None


@contextlib.contextmanager
def memory_of_device(free: int | None) -> Iterator[None]:
    """Lets `free_memory` return `free` in the block, which traces functions for another device than one of this process.

    Args:
      free: bytes that are free there; None if they are unknown, so that no bound is refused for its memory.
    """
    token = _given.set((free,))
    try:
        yield
    finally:
        _given.reset(token)


def free_memory() -> int | None:
    """Bytes that are free on the first device of this process, or as `memory_of_device` says; None if they are unknown."""
    if (given := _given.get()) is not None:
        return given[0]
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats()
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if stats and "bytes_limit" in stats else None
    try:
        with open("/proc/meminfo") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except OSError:
        return None
