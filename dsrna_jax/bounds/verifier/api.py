"""`bounds.verify`: attacks first, then branch and bound until an answer is found or the time is over."""

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from dsrna_jax.bounds.balls import Box
from dsrna_jax.bounds.explanation import free_memory
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.methods import method_named
from dsrna_jax.bounds.rounding import in_full_precision
from dsrna_jax.bounds.specification import Specification
from dsrna_jax.bounds.verifier import defaults, input_splits, neuron_splits
from dsrna_jax.bounds.verifier.beta_crown import MOST_CURVES, layers_of
from dsrna_jax.bounds.verifier.compiled import Traceable
from dsrna_jax.bounds.verifier.falsification import ClosestInput, attacked, rounds, values_of, violations
from dsrna_jax.bounds.verifier.pairwise import splittable
from dsrna_jax.bounds.verifier.verdict import AT_A_POINT, Verdict, over
from dsrna_jax.errors import InputError, shown
from dsrna_jax.inputs import check_counts, check_radius, checked_key, is_real
from dsrna_jax.kernels.reductions import min_over

BOXES = 64  # bounded at a time, or fewer of a large network
POINTS = 64  # of the attack on all boxes; at least one for each clause of each box
AGAIN = 10  # attacks by other points where no proof can be, and a counterexample is near
ATTACK = 0.1  # share of the time after which no further points are attacked
ATTACKED = 1_000_000  # entries of the graph's nodes, of all points that are attacked at once


@in_full_precision
def verify(
    f: Callable[[Float[Array, "batch *input"]], Float[Array, "batch *output"]],
    region: Box,
    specification: Specification,
    *,
    timeout: float = 60.0,
    method: str | None = None,
    split: str = "auto",
    batch: int | None = None,
    iterations: int = 20,
    key: PRNGKeyArray | None = None,
) -> Verdict:
    """Whether a property of f(x') holds for every x' of a region: a proof, a counterexample, or neither within the time.

    f is attacked first. Then branch and bound divides the box, or the sides of hinges such as relu and the operands of smooth
    functions such as tanh, and bounds batches of sub-problems by one compiled program. Splits of inputs suit any function of few
    inputs. Splits of hinges are complete for piecewise linear networks: bounds of the hinges' operands are tightened in the same
    way where the property is not decided soon; operands of smooth functions are cut into up to 16 pieces. Bounds allow for
    rounding, as `bound` does, so that "verified" holds for f in real arithmetic and as it is evaluated in the type of the
    region; a counterexample is confirmed in float64, and "unknown" promises nothing. Where the allowance for rounding hides
    whether the property holds at the input nearest to a counterexample, no branching could decide it, and the search ends: with
    `jax.enable_x64` and a region of float64 it goes further.

    Args:
      f: maps x [batch, ...], one array, to [batch, ...], each example by itself. A pytree such as
        `jax.tree_util.Partial(apply, weights)` is compiled once for all weights of one shape.
      region: a box, [1, ...], or the union of several, [box, ...].
      specification: its rows fit the shape of f(x); those of each box, if they have a first axis more.
      timeout: seconds, > 0; checked between stages and batches, so that a program that compiles is not cut short.
      method: one of `METHODS`. Of the bounds of sub-boxes: by default "crown", or "alpha_crown" where more than 20 inputs vary,
        so that cuts gain little. Of the intermediate bounds that all splits of hinges share: by default "alpha_crown" in small
        networks, "crown" in larger ones, and "hz_crown" in the deepest, since programs of the others grow with the square of the
        layers.
      split: "inputs"; "hinges", and smooth functions of one number, such as tanh or exp, if f has up to 6 of them; or "auto" for
        inputs if up to 20 of them vary in a box, or there is nothing else to split.
      batch: sub-problems bounded at a time; by default 32 on a CPU, 64 on others and of sub-boxes, or fewer where one takes long.
      iterations: steps of Adam for each sub-problem of hinges, which starts where its parent ended; a quarter of them for
        bounds of operands, and five times as many where no hinge is left to split.
      key: of the attack's random points.

    Returns: a `Verdict`.
    Raises: InputError for regions of trees, ends in the wrong order, a timeout that is not positive, and an f
      that cannot be traced for such inputs, returns no array or is nowhere finite; or as `bound`.
    """
    started = time.monotonic()
    check_radius(timeout, None, name="timeout", is_positive=True)
    check_counts(batch=batch)
    check_counts(0, iterations=iterations)
    if split not in ("auto", "inputs", "hinges"):
        raise InputError(f"unknown split {split!r}: expected auto, inputs or hinges")
    if method is not None:
        method_named(method)
    problem = Problem.of(f, region, specification)
    layers = layers_of(problem.graph)
    if split == "auto":
        split = "hinges" if problem.varying_inputs > defaults.FEW_INPUTS and layers else "inputs"
    if method is None:
        of_boxes = defaults.of_boxes(problem.graph, problem.varying_inputs)
        method = of_boxes if split == "inputs" else defaults.of_hinges(problem.graph)
    if batch is None:
        of_inputs = split == "inputs"
        batch = input_splits.boxes_at_once(problem.graph, BOXES, method) if of_inputs else defaults.subproblems_at_once()
    free, boxes = free_memory(), batch * (2 * problem.boxes.lower[0].nbytes + 16)
    if free is not None and boxes > free:
        raise InputError(f"batch={batch}: its boxes alone would take {boxes / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")

    def seconds():
        return time.monotonic() - started

    counterexample, nearest = problem.attacked(key, lambda: seconds() >= ATTACK * timeout)
    if counterexample is not None:
        return Verdict("counterexample", counterexample, "found by an attack", seconds(), 0)
    if seconds() >= timeout:
        return Verdict("unknown", None, over(problem.count, problem.count), seconds(), 0)
    options = {"batch": batch, "method": method, "seconds_left": lambda: timeout - seconds()}
    if split == "inputs":
        search, is_certified_at = input_splits.search, input_splits.is_certified_at
    elif not layers:
        return Verdict("unknown", None, f"f has no hinges, nor 1 to {MOST_CURVES} smooth functions, to split", seconds(), 0)
    else:
        search, is_certified_at = neuron_splits.search_each, neuron_splits.is_certified_at
        options |= {"layers": layers, "iterations": iterations}
    of_nearest = problem.specification.of_examples(np.array([nearest.box]))
    if not is_certified_at(problem.traceable, of_nearest, np.asarray(nearest.point), **options):
        for turn in range(AGAIN):
            if seconds() >= timeout:
                break
            other = jax.random.fold_in(jax.random.key(0) if key is None else key, turn)
            counterexample, _ = problem.attacked(other, lambda: seconds() >= timeout)
            if counterexample is not None:
                return Verdict("counterexample", counterexample, "found by an attack", seconds(), 0)
        return Verdict("unknown", None, AT_A_POINT, seconds(), 0)
    outcome = search(problem.traceable, problem.specification, problem.boxes, **options)
    if outcome.counterexample is None:
        return Verdict(outcome.status, None, outcome.reason, seconds(), outcome.branches)
    confirmed = problem.confirmed(outcome.counterexample, outcome.box)
    if confirmed is None:
        return Verdict("unknown", None, "an input violates the property by no more than rounding", seconds(), outcome.branches)
    return Verdict("counterexample", confirmed, outcome.reason, seconds(), outcome.branches)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A function, a region and a property that fit together.

    traceable, graph: of f, the graph of one example. Values of the graph are abstract.
    specification: with rows [box, row, *output] and offsets [box, row].
    boxes: in the type that bounds are computed in, rounded outwards; `exact` are as they were given.
    """

    f: Callable
    traceable: Traceable
    graph: Graph
    specification: Specification
    boxes: Box
    exact: Box

    @classmethod
    def of(cls, f: Callable, region: Box, specification: Specification) -> "Problem":
        """The problem of these parts. Raises: as `verify`."""
        lower, upper = _ends(region)
        boxes, exact = Box(lower, upper), Box(*(np.asarray(side, np.float64) for side in (region.lower, region.upper)))
        if not isinstance(specification, Specification):
            raise InputError(f"the property must be a bounds.Specification, got {type(specification).__name__}")
        specification = specification.checked()
        try:
            output = jax.eval_shape(f, boxes.middle)
        except InputError:
            raise
        except (TypeError, ValueError) as error:
            raise InputError(f"f(x) cannot be traced for x {list(lower.shape)}: {' '.join(str(error).split())[:200]}") from error
        if not isinstance(output, jax.ShapeDtypeStruct) or output.shape[:1] != lower.shape[:1]:
            raise InputError(f"f(x) must be one array [batch, ...] for x {list(lower.shape)}, got {shown(output)}")
        graphs: list[Graph] = []
        jax.eval_shape(lambda x: graphs.append(splittable(f, x)), boxes.middle[:1])
        return cls(f, Traceable.of(f, boxes.middle), graphs[0], _of_each_box(specification, output), boxes, exact)

    @property
    def count(self) -> int:
        """The number of boxes."""
        return len(self.boxes.lower)

    @property
    def varying_inputs(self) -> int:
        """The most inputs that vary in a box."""
        return int(np.max((self.exact.lower < self.exact.upper).reshape(self.count, -1).sum(1)))

    def attacked(self, key: PRNGKeyArray | None, is_over: Callable[[], bool]) -> tuple[np.ndarray | None, ClosestInput]:
        """A confirmed counterexample, or None if attacks find none in the time for them, and the input nearest to one.

        Raises: InputError if f is finite at no point that is tried.
        """
        key = checked_key(jax.random.key(0) if key is None else key, is_single=True)
        f, clauses = self.traceable, len(self.specification.of_every_row)
        points = max(POINTS // (clauses * min(self.count, POINTS)), 1) * clauses
        entries = sum(node.size for node in self.graph.nodes)
        free, room = free_memory(), ATTACKED // entries
        if free is not None:
            room = min(room, free // (2 * entries * self.boxes.lower.itemsize))
        nearest = ClosestInput(self.boxes.lower[0], np.inf, 0)
        for place, (number, each, turn) in enumerate(rounds(self.count, points, clauses, max(room, 1))):
            parts = self.specification.of_examples(number), self.boxes.of_examples(number)
            attack = attacked(f.arrays, f.static, *parts, jax.random.fold_in(key, place), jnp.array(turn), points=each)
            point, value, box = jax.device_get(attack)
            if value < nearest.value:
                nearest = ClosestInput(point, float(value), int(number[box]))
            if value <= 0 and (counterexample := self.confirmed(point, int(number[box]))) is not None:
                return counterexample, nearest
            if is_over():
                break
        if nearest.value == np.inf:
            raise InputError("f(x) is finite at no point of the region that was tried: its weights hold NaN or infinity")
        return None, nearest

    def confirmed(self, point: np.ndarray, box: int) -> np.ndarray | None:
        """The input as a counterexample in float64, moved into the exact box of that number; None if it is none there.

        The arrays of a pytree f are taken in float64 too. A function that takes no such inputs is evaluated as it is, at the next
        input of float32.
        """
        f, exact, specification = self.f, self.exact.of_examples(np.array([box])), self.specification.of_examples(np.array([box]))
        x = np.clip(np.asarray(point, np.float64)[None], exact.lower, exact.upper)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda a: jnp.asarray(a, float) if _is_float(a) else a, f)
            try:
                y = wide(jnp.asarray(x))
            except TypeError:  # a convolution by float32 weights that f closes over
                x = _narrow(x, exact)
                y = f(jnp.asarray(x, np.float32))
            value = float(min_over(violations(values_of(y, specification), specification)))
        return x[0] if value <= 0 and np.all((exact.lower <= x) & (x <= exact.upper)) else None


def _ends(region: Box) -> tuple[np.ndarray, np.ndarray]:
    """The ends of boxes in the type that bounds are computed in, rounded outwards."""
    if not isinstance(region, Box):
        raise InputError(f"the region must be a bounds.Box(lower, upper), got {type(region).__name__}")
    for side in (region.lower, region.upper):
        if not hasattr(side, "shape"):
            what = "join the arrays of a tree inside of f, and give numbers as numpy.array([[...]])"
            raise InputError(f"the region must be a box of one array, got a {type(side).__name__}: {what}")
    exact = [np.asarray(side) for side in (region.lower, region.upper)]
    if exact[0].shape != exact[1].shape or exact[0].ndim == 0 or len(exact[0]) == 0:
        raise InputError(f"the region must be a box, [1, ...], or several, got {exact[0].shape} and {exact[1].shape}")
    if not all(map(is_real, exact)):
        raise InputError(f"the ends of a region must be real numbers, got {exact[0].dtype} and {exact[1].dtype}")
    if not np.all(np.isfinite(exact[0]) & np.isfinite(exact[1])):
        raise InputError("the ends of a region must be finite")
    if not np.all(exact[0] <= exact[1]):
        place = tuple(map(int, np.argwhere(exact[0] > exact[1])[0]))
        raise InputError(f"the box's lower end lies above its upper end at {place}: {exact[0][place]:g} and {exact[1][place]:g}")
    dtype = jax.dtypes.canonicalize_dtype(np.result_type(*exact, np.float32))  # float64 only where x64 is on
    low, high = (side.astype(dtype) for side in exact)
    low = np.where(low > exact[0], np.nextafter(low, np.array(-np.inf, dtype)), low)
    return low, np.where(high < exact[1], np.nextafter(high, np.array(np.inf, dtype)), high)


def _of_each_box(specification: Specification, output) -> Specification:
    """The specification with rows and offsets of each box. Raises: InputError if they do not fit the output."""
    jax.eval_shape(lambda y: specification.functionals(y)[0], output)
    rows, offsets = np.asarray(specification.rows), np.asarray(specification.offsets)
    shape = (len(output), offsets.shape[-1])
    return dataclasses.replace(
        specification, rows=np.broadcast_to(rows, (*shape, *output.shape[1:])), offsets=np.broadcast_to(offsets, shape)
    )


def _narrow(x: np.ndarray, exact: Box) -> np.ndarray:
    """x as numbers of float32, rounded towards the middle of a box where they would leave it."""
    near = x.astype(np.float32)
    near = np.where(near > exact.upper, np.nextafter(near, np.float32(-np.inf)), near)
    return np.where(near < exact.lower, np.nextafter(near, np.float32(np.inf)), near).astype(np.float64)


def _is_float(leaf) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)
