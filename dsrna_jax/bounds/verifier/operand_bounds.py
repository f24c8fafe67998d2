"""Tighter bounds of the operands of hinges, by a short branch and bound for each, before the property is branched on.

Bounds of a network's later layers are as loose as those of the layers before, so that few open hinges in early layers are worth
more than many splits of late ones. Layer by layer, the side of each open hinge is bounded as a property is: its operand is the
target in place of the output, and its worst sub-problem is split, as alpha-beta-CROWN does with integer programs.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterator

import numpy as np

from dsrna_jax.bounds.verifier.beta_crown import Layer
from dsrna_jax.bounds.verifier.subproblems import Root, Subproblems

LEAST_ROUNDS = 2  # sub-problems of every target without which branching gains nothing over alpha-CROWN


class Target:
    """A bound of one operand, from below (sign 1) or above (-1): one that is known, or the least of its sub-problems."""

    def __init__(self, entry: int, sign: int, known: float, whole: Subproblems):
        self.entry, self.sign, self.known, self.is_final = entry, sign, known, False
        self.order, self.waiting = itertools.count(), []
        self.wait(-np.inf, whole)

    def wait(self, bound: float, problem: Subproblems) -> None:
        """Adds a sub-problem, unless its bound decides the side."""
        if not bound >= 0:
            heapq.heappush(self.waiting, (bound, next(self.order), problem))

    @property
    def bound(self) -> float:
        """At most 0, which is the kink: an operand that lies on one side of it needs no better bound."""
        return max(self.known, self.waiting[0][0]) if self.waiting else 0.0

    @property
    def is_open(self) -> bool:
        return self.bound < 0 and not self.is_final


def refined(
    root: Root,
    layers: list[Layer],
    bounded: Callable,
    tightened: Callable,
    *,
    batch: int,
    rows: int,
    seconds: float,
    seconds_of_batch: float,
) -> Root:
    """The root with tighter bounds of the operands of open hinges, all within so many seconds.

    Args:
      layers: as `beta_crown.layers_of` gives them. Operands that are affine in the input have exact bounds.
      bounded: maps (root, sub-problems) to `subproblems.Bounded`.
      tightened: maps (root, low, high) to a `Root`.
      batch, rows: sub-problems bounded at a time, and rows of the specification.
      seconds_of_batch: about what `bounded` takes. Nothing is tried if the time would not suffice for a few rounds.
    """
    ends_at = np.cumsum([layer.size for layer in layers])
    of_layers = ((layer, stop) for layer, stop in zip(layers, ends_at, strict=True) if layer.is_hinge and not layer.is_affine)
    inner = [(stop - layer.size, stop) for layer, stop in of_layers]
    over = time.monotonic() + seconds
    count = sum(len(open_entries(root, *layer)) for layer in inner)
    if not count or 2 * count * LEAST_ROUNDS * seconds_of_batch / batch > seconds:
        return root
    for place, (start, stop) in enumerate(inner):
        left = over - time.monotonic()
        until = time.monotonic() + left / (len(inner) - place)
        low, high = np.array(root.low), np.array(root.high)
        for target in _branched(root, open_entries(root, start, stop), bounded, batch, rows, until):
            side = low if target.sign > 0 else high
            side[target.entry] = (max if target.sign > 0 else min)(side[target.entry], target.sign * target.bound)
        root = tightened(root, low, high)
    return root


def open_entries(root: Root, start: int, stop: int) -> np.ndarray:
    """The entries of hinges, from start to stop, that have no side yet."""
    return start + np.flatnonzero((np.asarray(root.low[start:stop]) < 0) & (np.asarray(root.high[start:stop]) > 0))


def _branched(root: Root, entries: np.ndarray, bounded: Callable, batch: int, rows: int, until: float) -> Iterator[Target]:
    """The targets of entries, after branch and bound until then."""
    pairs = []
    for entry in map(int, entries):
        pair = []
        for sign, bound in ((1, root.low[entry]), (-1, -root.high[entry])):
            whole = Subproblems.whole(root, 0, np.zeros(rows, bool), sign * (entry + 1))
            pair.append(Target(entry, sign, float(bound), whole))
        pairs.append(pair)
    while time.monotonic() < until:
        active = [target for pair in pairs if all(target.bound < 0 for target in pair) for target in pair if target.is_open]
        if not active:
            break
        # Every target once, and again until a batch is full.
        turns = (target for _ in range(math.ceil(batch / len(active))) for target in active)
        taken = [(target, heapq.heappop(target.waiting)) for target in turns if target.waiting]
        for begin in range(0, len(taken), batch):
            part = taken[begin : begin + batch]
            if time.monotonic() < until:
                _split(root, part, bounded, batch)
            else:
                for target, (bound, _, problem) in part:
                    target.wait(bound, problem)
    return itertools.chain.from_iterable(pairs)


def _split(root: Root, taken: list, bounded: Callable, batch: int) -> None:
    """Bounds sub-problems of targets, and puts their halves in their places."""
    filled = Subproblems(*(np.stack(parts) for parts in zip(*(taken[i % len(taken)][1][2] for i in range(batch)), strict=True)))
    result = bounded(root, filled)
    for i, (target, (before, _, _)) in enumerate(taken):
        problem, bound = Subproblems(*(part[i] for part in result.problems)), float(np.fmax(result.bound[i], before))
        children = np.fmax(result.children[:, i], bound)
        if not result.has_open[i]:
            target.is_final = True
            target.wait(bound, problem)
            continue
        for child, is_above in zip(children, (True, False), strict=True):
            target.wait(float(child), problem.half(int(result.neuron[i]), is_above=is_above))
