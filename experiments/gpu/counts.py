"""Counts of kernels, bytes and collectives in XLA's text of a compiled GPU program."""

import collections
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

# Instructions that launch nothing. A `-done` ends what a `-start` began.
_FREE = {"parameter", "constant", "bitcast", "tuple", "get-tuple-element", "after-all", "partition-id", "replica-id"}
_CONTROL = {"while", "call", "conditional", "async-start"}
_COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast")

_COMPUTATION = re.compile(r"^(?:ENTRY )?%([\w.\-]+) \([^\n]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\((.*)$", re.MULTILINE)
_CALLED = re.compile(r"(?:body|to_apply|true_computation|false_computation|calls)=%([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')


class Launch(NamedTuple):
    """An instruction that launches something, `times` times a call of the program. bytes: of its operands and result."""

    kind: str
    bytes: int
    times: int


def counts(program: str) -> dict[str, Any]:
    """Counts of one call on one device, by the text of the compiled program (`Compiled.as_text()`), as JSON.

    kernels: launches, those of a loop times its rounds where XLA knows how many, otherwise once.
    transposes: launches that only move data between layouts.
    bytes: operands and results of all launches; of an operand that a kernel slices, the slices.
    collectives: number and bytes of results by kind.
    """
    launched = list(launches(program))
    collectives = collections.defaultdict(lambda: {"count": 0, "bytes": 0})
    for launch in launched:
        if (kind := launch.kind.removesuffix("-start")) in _COLLECTIVES:
            collectives[kind]["count"] += launch.times
            collectives[kind]["bytes"] += launch.bytes * launch.times
    kinds = collections.Counter()
    for launch in launched:
        kinds[launch.kind] += launch.times
    return {
        "kernels": sum(kinds.values()),
        "transposes": kinds["transpose"] + kinds["copy"],
        "bytes": sum(launch.bytes * launch.times for launch in launched),
        "collectives": dict(collectives),
        "kinds": dict(kinds.most_common(12)),
    }


def launches(program: str) -> Iterator[Launch]:
    """All instructions that launch something, also in loops and calls; those inside fusions are no launches."""
    program = re.sub(r"/\*.*?\*/", "", program)
    computations = dict(_COMPUTATION.findall(program))
    entry = re.search(r"^ENTRY %([\w.\-]+)", program, re.MULTILINE)
    assert entry is not None, "expected the text of a compiled module"
    yield from _launches(computations[entry.group(1)], computations, 1)


def _launches(computation: str, computations: dict[str, str], times: int) -> Iterator[Launch]:
    instructions = [match.groups() for match in _INSTRUCTION.finditer(computation)]
    shapes = {name: shape for name, shape, _, _ in instructions}
    for name, shape, operation, rest in instructions:
        if operation in _FREE or operation.endswith("-done"):
            continue
        if operation in _CONTROL:
            trips = _TRIPS.search(rest)
            called = _CALLED.findall(rest) + [c.strip(" %") for branches in _BRANCHES.findall(rest) for c in branches.split(",")]
            for inner in called:
                yield from _launches(computations[inner], computations, times * (int(trips.group(1)) if trips else 1))
            continue
        moved = size(shape)
        if not operation.startswith(_COLLECTIVES):
            read = [size(shapes.get(operand, "")) for operand in _operands(rest)]
            if operation == "fusion":
                read = map(min, read, _sliced(computations[_CALLED.findall(rest)[0]]))
            moved += sum(read)
        yield Launch(_kind(name, operation, rest), int(moved), times)


def _operands(rest: str) -> list[str]:
    """Names of the operands in what follows the opening parenthesis of an instruction."""
    return re.findall(r"%([\w.\-]+)", rest.split("), ")[0])


def _sliced(fusion: str) -> list[float]:
    """Bytes of the slices and gathers of each parameter of a fused computation; infinite if it is read otherwise."""
    parameters, read = {}, collections.defaultdict(float)
    for name, shape, operation, rest in _INSTRUCTION.findall(fusion):
        operands = _operands(rest)
        if operation == "parameter":
            parameters[int(rest.partition(")")[0])] = name
        is_part = operation in ("slice", "dynamic-slice", "gather")
        for i, operand in enumerate(operands):
            read[operand] += size(shape) if is_part and i == 0 else math.inf
    return [read[parameters[number]] for number in sorted(parameters)]


def _kind(name: str, operation: str, rest: str) -> str:
    if operation == "custom-call":
        return re.findall(r'custom_call_target="([^"]+)"', rest)[0]
    if operation != "fusion":
        return operation
    if re.search(r'"kind":"__triton', rest):
        return "triton"
    words = name.replace(".", "_").split("_")
    return next((word for word in ("transpose", "copy", "reduce", "scatter", "concatenate") if word in words), "loop")


def size(shape: str) -> int:
    """Bytes of a shape in XLA's notation, "f32[2,3]{1,0}" or a tuple of such, but for workspaces (s8, u8 of one axis)."""
    total = 0
    for kind, digits, dimensions in re.findall(r"(pred|bf|[a-z])(\d*)\w*\[([\d,]*)\]", re.sub(r"\b[su]8\[\d+\]", "", shape)):
        width = 1 if kind == "pred" else int(digits or 0) // 8
        total += width * math.prod(int(n) for n in dimensions.split(",") if n)
    return total
