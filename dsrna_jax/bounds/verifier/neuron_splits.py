"""Branch and bound over the parts of neurons: the sides of hinges such as relu, and pieces of smooth functions such as tanh.

It is complete for functions that are piecewise linear.
"""

import functools
import heapq
import itertools
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.explanation import free_memory
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier import subproblems
from dsrna_jax.bounds.verifier.beta_crown import Layer
from dsrna_jax.bounds.verifier.bounding import bounded
from dsrna_jax.bounds.verifier.compiled import Traceable
from dsrna_jax.bounds.verifier.falsification import value_at
from dsrna_jax.bounds.verifier.linear_programs import piece, solved
from dsrna_jax.bounds.verifier.operand_bounds import refined
from dsrna_jax.bounds.verifier.subproblems import Bounded, Root, Subproblems, members_of
from dsrna_jax.bounds.verifier.verdict import OVER, Outcome, over

OF_OPERANDS = 0.25  # of the steps of a sub-problem: many sub-problems of few steps bound operands best
FEWEST = 0.5  # of the steps of a batch, taken before it may end since it gains too little to certify any
OF_LEAVES = 5.0  # of the steps of a sub-problem: one in which no neuron is left to split is not to fail for want of steps
FIRST = 0.05  # share of the time after which bounds of operands are refined; each later stage lasts longer by a factor of 2


def search_each(
    f: Traceable, specification: Specification, boxes: Box, *, seconds_left: Callable[[], float], **options: Any
) -> Outcome:
    """Searches one box after the other. They share the time; those that it does not suffice for share what the others leave.

    Args:
      specification: with rows and offsets of each box.
      boxes: [box, ...], arrays of NumPy.
      The rest as in `search`.
    """
    count, branches, doubts = len(boxes.lower), 0, []
    waiting = list(range(count))
    while waiting and seconds_left() > 0:
        late = []
        for place, box in enumerate(waiting):
            until = seconds_left() * (1 - 1 / (len(waiting) - place))
            if seconds_left() <= 0:
                late.append(box)
                continue
            own = _of_box(specification, box), boxes.of_examples(np.array([box]))
            outcome = search(f, *own, seconds_left=lambda until=until: seconds_left() - until, **options)
            branches += outcome.branches
            if outcome.status == "counterexample":
                return outcome._replace(branches=branches, box=box)
            if outcome.reason == OVER:
                late.append(box)
            elif outcome.status == "unknown":
                doubts.append(outcome.reason)
        waiting = late
    if waiting:
        doubts.append(over(len(waiting), count))
    return Outcome("unknown" if doubts else "verified", None, doubts[0] if doubts else outcome.reason, branches)


def is_certified_at(
    f: Traceable,
    specification: Specification,
    point: np.ndarray,
    *,
    layers: list[Layer],
    batch: int,
    method: str,
    iterations: int,
    seconds_left: Callable[[], float],
) -> bool:
    """Whether bounds certify clauses of one box, as many as fit a batch, at one input; as in `input_splits`.

    Hinges have the sides that they have there: branching reaches no smaller sub-problem that holds the input.
    """
    box = Box(point[None], point[None])
    branching = _Branching(f, _of_box(specification, 0), box, batch, iterations)
    root, by_clause = branching.root(method)
    if (by_clause > 0).all():
        return True
    clauses = (place % len(branching.members) for place in range(batch))
    leaves = [branching.whole(root, clause)._replace(**_sides_at(root)) for clause in clauses]
    return bool((branching.bounded(root, Subproblems(*map(np.stack, zip(*leaves, strict=True)))).bound > 0).all())


def _sides_at(root: Root) -> dict[str, np.ndarray]:
    """The pieces of hinges that hold the only input of a root's box, as fields of `Subproblems`; all of other neurons."""
    last = np.asarray(root.last)
    side = (np.asarray(root.low) + np.asarray(root.high) >= 0).astype(np.int8)
    return {"first": np.where(last == 1, side, 0).astype(np.int8), "last": np.where(last == 1, side, last)}


def search(
    f: Traceable,
    specification: Specification,
    box: Box,
    layers: list[Layer],
    *,
    batch: int,
    method: str,
    iterations: int,
    seconds_left: Callable[[], float],
) -> Outcome:
    """Splits neurons until the property is certified everywhere, fails somewhere, or the time is over.

    A property that is not decided in the first part of the time is left for tighter bounds of the operands of hinges, and then
    branched on anew.

    Args:
      layers: as `beta_crown.layers_of` gives them.
      method: of the intermediate bounds.
      iterations: steps of Adam for each batch.
      specification: with rows [row, *output] and offsets [row].
      box: [1, ...], arrays of NumPy.
      The rest as in `input_splits.search`.
    """
    stage = FIRST * seconds_left()
    branching = _Branching(f, specification, box, batch, iterations)
    root, by_clause = branching.root(method)
    clauses = set(np.flatnonzero(~(by_clause > 0)).tolist())
    if not clauses:
        branching.end("verified", None, "bounds of the whole box certify it")
    while branching.outcome is None and seconds_left() > 0:
        is_last = seconds_left() < 5 * stage  # too little for this stage, a refinement of two, and the next stage
        until = 0.0 if is_last else seconds_left() - stage
        clauses = branching.run(root, clauses, lambda until=until: seconds_left() <= until)
        if branching.outcome is None and not is_last:
            root = refined(
                root,
                layers,
                functools.partial(branching.bounded, effort=OF_OPERANDS),
                lambda root, low, high: subproblems.tightened(f.arrays, f.static, box, root, low, high),
                batch=batch,
                rows=branching.members.shape[1],
                seconds=2 * stage,
                seconds_of_batch=branching.seconds_of_batch,
            )
        stage *= 2
    return branching.outcome or Outcome("unknown", None, OVER, branching.branches)


def _of_box(specification: Specification, box: int) -> Specification:
    return Specification(specification.rows[box], specification.offsets[box], specification.clauses)


class _Branching:
    """A branch and bound, which may be run again from another root.

    outcome: None until there is one.
    branches: number of sub-problems that were bounded.
    seconds_of_batch: the least that a batch took.
    """

    def __init__(self, f: Traceable, specification: Specification, box: Box, batch: int, iterations: int):
        self.f, self.specification, self.box, self.batch, self.iterations = f, specification, box, batch, iterations
        self.members = members_of(specification)
        self.outcome: Outcome | None = None
        self.branches, self.seconds_of_batch = 0, np.inf

    def root(self, method: str) -> tuple[Root, np.ndarray]:
        """`subproblems.root` of the box, which counts as a branch."""
        self.branches += 1
        root, by_clause = subproblems.root(self.f.arrays, self.f.static, self.specification, self.box, method=method)
        return root, np.asarray(by_clause)

    def bounded(self, root: Root, problems: Subproblems, effort: float = 1.0) -> Bounded:
        """Bounds a batch of sub-problems by up to `effort` times the steps of Adam.

        All are taken where a sub-problem is whole or of an operand, whose bound is to be tight, or `effort` is more than 1.
        """
        began, f = time.monotonic(), self.f
        steps = math.ceil(effort * self.iterations)
        is_part = ((problems.first > 0) | (problems.last < np.asarray(root.last))).any(1)
        may_end = effort <= 1 and is_part.all() and not problems.target.any()
        fewest = math.ceil(FEWEST * steps) if may_end else steps
        result = bounded(f.arrays, f.static, self.specification, self.box, root, problems, iterations=steps, fewest=fewest)
        result = jax.device_get(result)
        self.branches += len(problems.clause)
        self.seconds_of_batch = min(self.seconds_of_batch, time.monotonic() - began)
        return result

    def whole(self, root: Root, clause: int) -> Subproblems:
        """The sub-problem of a clause in which all neurons are whole."""
        return Subproblems.whole(root, clause, self.members[clause])

    def end(self, status: str, point, reason: str) -> set[int]:
        """Sets the outcome; no clause is left."""
        self.outcome = Outcome(status, point, reason, self.branches)
        return set()

    def run(self, root: Root, clauses: Iterable[int], is_over: Callable[[], bool]) -> set[int]:
        """Branches on clauses until there is an outcome or the time is over. Returns: the clauses that are not certified yet."""
        f, specification, box, batch = self.f, self.specification, self.box, self.batch
        waiting: list[tuple[float, int, bool, Subproblems]] = []
        order, undecided = itertools.count(), {}  # why, by clause

        def wait(bound, problem, is_solved=False):
            heapq.heappush(waiting, (float(bound), next(order), is_solved, problem))

        for clause in clauses:
            wait(-np.inf, self.whole(root, clause))
        room = (free_memory() or np.inf) / 2 // sum(part.nbytes for part in waiting[0][-1])
        while waiting:
            if is_over():
                return {int(problem.clause) for *_, problem in waiting} | set(undecided)
            if len(waiting) > room:
                return self.end("unknown", None, "no memory is left for sub-problems")
            taken = [heapq.heappop(waiting) for _ in range(min(batch, len(waiting)))]
            count = len(taken)
            filled = Subproblems(*(np.stack(parts) for parts in zip(*(taken[i % count][-1] for i in range(batch)), strict=True)))
            result = self.bounded(root, filled, OF_LEAVES if any(is_solved for *_, is_solved, _ in taken) else 1.0)
            self.branches -= batch - count
            least = np.nan_to_num(result.value[:count], nan=np.inf).argmin()
            if result.value[least] <= 0:
                return self.end("counterexample", result.point[least], "found while branching")
            for i in np.flatnonzero(~(result.bound[:count] > 0)):
                problem = Subproblems(*(part[i] for part in result.problems))
                if result.has_open[i]:
                    for bound, is_above in zip(result.children[:, i], (True, False), strict=True):
                        if not bound > 0:
                            wait(bound, problem.half(int(result.neuron[i]), is_above=is_above))
                    continue
                if is_over():
                    wait(result.bound[i], problem, taken[i][2])
                    continue
                sides = np.asarray(problem.first) + np.asarray(problem.last) - np.asarray(root.last)
                linear = None if taken[i][2] else piece(f.arrays, f.static, specification, box, root.ends, sides)
                solution = None if linear is None else solved(linear, box, sides, np.asarray(problem.weights))
                if solution is None:  # a counterexample may lie in another sub-problem
                    why = "a linear sub-problem is too close to call" if taken[i][2] else "no neuron is left to split"
                    undecided[int(problem.clause)] = why
                    continue
                point, multipliers = solution
                if value_at(f.arrays, f.static, specification, point[None].astype(box.lower.dtype)) <= 0:
                    return self.end("counterexample", point, "the solution of a linear sub-problem")
                wait(result.bound[i], problem._replace(multipliers=multipliers), is_solved=True)
        if undecided:
            return self.end("unknown", None, next(iter(undecided.values())))
        return self.end("verified", None, "every sub-problem is certified")
