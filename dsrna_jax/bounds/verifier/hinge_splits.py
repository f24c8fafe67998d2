"""Branch and bound over the sides of hinges, such as relu: complete for networks that are piecewise linear."""

import heapq
import itertools
from collections.abc import Callable

import jax
import numpy as np

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.explanation import free_memory
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier.compiled import Traceable
from dsrna_jax.bounds.verifier.falsification import value_at
from dsrna_jax.bounds.verifier.linear_programs import piece, solved
from dsrna_jax.bounds.verifier.subproblems import Subproblems, bounded, members_of, root
from dsrna_jax.bounds.verifier.verdict import Outcome


def search(
    f: Traceable, specification: Specification, box: Box, *, batch: int, method: str, iterations: int, is_over: Callable
) -> Outcome:
    """Splits hinges until the property is certified everywhere, fails somewhere, or the time is over.

    Args:
      method: of the intermediate bounds.
      iterations: steps of Adam for each batch.
      The rest as in `input_splits.search`.
    """
    ends, shares = root(f.arrays, f.static, box, method=method)
    shares = np.asarray(shares)
    if not len(shares):
        return Outcome("unknown", None, "f has no hinges to split", 0)
    members = members_of(specification)
    waiting: list[tuple[float, int, bool, Subproblems]] = []
    order, branches = itertools.count(), 0

    def wait(bound, problem, is_solved=False):
        heapq.heappush(waiting, (float(bound), next(order), is_solved, problem))

    for clause, rows in enumerate(members):
        sides, multipliers = np.zeros(len(shares), np.int8), np.zeros(len(shares), np.float32)
        wait(-np.inf, Subproblems(np.array(clause, np.int32), sides, shares, multipliers, rows.astype(np.float32)))
    room = (free_memory() or np.inf) / 2 // sum(part.nbytes for part in waiting[0][3])
    while waiting:
        if is_over() or len(waiting) > room:
            return Outcome("unknown", None, "the time was over" if is_over() else "no memory is left for sub-problems", branches)
        taken = [heapq.heappop(waiting) for _ in range(min(batch, len(waiting)))]
        count = len(taken)
        filled = Subproblems(*(np.stack(parts) for parts in zip(*(taken[i % count][3] for i in range(batch)), strict=True)))
        found = jax.device_get(bounded(f.arrays, f.static, specification, box, ends, filled, iterations=iterations))
        branches += count
        least = np.nan_to_num(found.value[:count], nan=np.inf).argmin()
        if found.value[least] <= 0:
            return Outcome("counterexample", found.point[least], "found while branching", branches)
        for i in np.flatnonzero(~(found.bound[:count] > 0)):
            problem = Subproblems(*(part[i] for part in found.problems))
            if found.has_open[i]:
                for bound, side in zip(found.children[:, i], (1, -1), strict=True):
                    if not bound > 0:
                        sides = problem.sides.copy()
                        sides[found.hinge[i]] = side
                        wait(bound, problem._replace(sides=sides))
                continue
            if is_over():
                return Outcome("unknown", None, "the time was over", branches)
            linear = None if taken[i][2] else piece(f.arrays, f.static, specification, box, ends, problem.sides)
            solution = None if linear is None else solved(linear, box, np.asarray(problem.sides), np.asarray(problem.weights))
            if solution is None:
                reason = "a linear sub-problem is too close to call" if taken[i][2] else "no hinge is left to split"
                return Outcome("unknown", None, reason, branches)
            point, multipliers = solution
            if value_at(f.arrays, f.static, specification, point[None].astype(box.lower.dtype)) <= 0:
                return Outcome("counterexample", point, "the solution of a linear sub-problem", branches)
            wait(found.bound[i], problem._replace(multipliers=multipliers), is_solved=True)
    return Outcome("verified", None, "every sub-problem is certified", branches)
