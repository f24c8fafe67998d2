"""The methods: which intermediate bounds, which slopes, and how often they are improved."""

import functools

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsrna_jax.bounds import forward
from dsrna_jax.bounds.backward import Relaxed, lower_bound, sides_of
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Linear, Node
from dsrna_jax.bounds.relaxations import Hinge, Largest, adaptive_share
from dsrna_jax.bounds.zonotope import Zonotopes
from dsrna_jax.errors import InputError

CACHED = 2**20  # numbers


class Bounded:
    """A graph with bounds of its intermediate values, by one method."""

    def __init__(self, graph: Graph, ball: Ball, method: str, *, chunk: int, iterations: int, given: dict):
        self.graph, self.ball, self.method, self.chunk, self.iterations = graph, ball, method, chunk, iterations
        self.names = {start: intermediate_name(start, users) for start, users in forward.relaxed_inputs(graph).items()}
        unknown = set(given) - set(self.names.values())
        if unknown:
            raise InputError(f"unknown intermediate values {', '.join(sorted(unknown))}: f has {', '.join(self.names.values())}")
        self.given = given
        self.slopes = "parallel" if method == "fastlin" else "adaptive"
        self.interval = forward.intervals(graph, ball)
        refines = method not in ("ibp", "crown_ibp") or given or ball.norm != "linf"
        if refines or method == "crown_ibp":
            boxes, self.relaxed = self.interval, None
            if refines:
                self.interval = forward.intervals(graph, ball, self._refined(method))
            self.relaxed = (self.relaxed or Relaxed(self.interval, self.slopes)).prepared(graph, graph.output)
            self.relaxations = [self.relaxed]
            if method in ("crown", "alpha_crown", "hz_crown"):
                self.relaxations.append(Relaxed(boxes).prepared(graph, graph.output))

    def _refined(self, method):
        zonotopes = Zonotopes(self.graph, self.ball) if method == "hz_crown" else None

        def refine(node: Node, intervals, is_exact):
            sides = []
            if self.names[node] in self.given:
                lower, upper = self.given[self.names[node]]
                sides.append((lower - node.value, upper - node.value))
            if zonotopes is not None:
                sides.append(zonotopes.sides(node, intervals))
            is_affine = self.ball.norm != "linf" and not is_exact and _is_affine(node)
            if method in ("crown", "fastlin", "alpha_crown") or is_affine:
                sides.append(self._pulled(node, intervals))
            if not sides:
                return None
            return _tightest(sides)

        return refine

    def _pulled(self, node, intervals):
        self.relaxed = relaxed = (self.relaxed or Relaxed(intervals, self.slopes)).prepared(self.graph, node)
        wanted = [_undecided(user, node, intervals) for user in forward.relaxed_inputs(self.graph)[node]]
        everything = any(w is None for w in wanted)
        wanted = None if everything else sum(wanted) > 0
        return sides_of(node, lambda rows: self._lower(relaxed, node, rows), chunk=self.chunk, wanted=wanted)

    def _lower(self, relaxed, node, rows):
        return lower_bound(self.graph, self.ball, relaxed, node, rows)

    def lower(self, rows) -> jax.Array:
        """The method's lower bound of functionals [row, batch, ...] of the output's deviation: [row, batch]."""
        if self.method == "ibp":
            return self._folded(rows)
        best = self._in_turn(rows)
        return jnp.fmax(best, self._optimised(rows)) if self.method == "alpha_crown" else best

    def _folded(self, rows):
        return lower_bound(self.graph, self.ball, Relaxed(self.interval), self.graph.output, rows, stop=True)

    def _in_turn(self, rows):
        """Lower bounds of the output's functionals, as many at once as a processor's cache has room for."""
        output = self.graph.output

        def best(rows):
            return functools.reduce(jnp.fmax, [self._folded(rows), *(self._lower(r, output, rows) for r in self.relaxations)])

        room = CACHED // (output.value.shape[output.batch_axis] * max(node.size for node in self.graph.nodes))
        count = max(n for n in range(1, len(rows) + 1) if len(rows) % n == 0 and (n <= room or n == 1))
        return lax.map(best, rows.reshape(-1, count, *rows.shape[1:])).reshape(len(rows), -1)

    def _optimised(self, rows):
        """Adam on the lower slopes of every row; each is sound, so the best value seen is (Xu et al. 2021, arXiv:2011.13824)."""
        hinges = [n for n in self.graph.nodes if isinstance(n.operation, Hinge)]
        count = len(rows)

        def initial(node):
            _, low, high = node.operation.bounded_sides(node, self.interval[node.parents[0]])
            return jnp.broadcast_to(adaptive_share(low, high), (count, *low.shape))

        optimizer = optax.adam(optax.exponential_decay(0.5, 1, 0.98))
        shares = {node.name: initial(node) for node in hinges}

        def bound(shares):
            slopes = {node: shares[node.name] for node in hinges}
            value = self._lower(Relaxed(self.interval, slopes), self.graph.output, rows)
            return value.sum(), value

        def climb(carry, _):
            shares, state, best = carry
            gradient, value = jax.grad(bound, has_aux=True)(shares)
            updates, state = optimizer.update(jax.tree.map(jnp.negative, gradient), state)
            shares = jax.tree.map(lambda s, u: jnp.clip(s + u, 0, 1), shares, updates)
            return (shares, state, jnp.fmax(best, value)), None

        worst = jnp.full((count, self.ball.radius.shape[0]), -jnp.inf, rows.dtype)
        (shares, _, best), _ = lax.scan(climb, (shares, optimizer.init(shares), worst), length=self.iterations)
        return jnp.fmax(best, bound(lax.stop_gradient(shares))[1])

    def sides(self) -> tuple[jax.Array, jax.Array]:
        """Bounds of every entry of the output's deviation."""
        interval = self.interval[self.graph.output]
        if self.method == "ibp" and (self.ball.norm == "linf" or not _is_affine(self.graph.output)):
            return interval.lower, interval.upper
        return _tightest([(interval.lower, interval.upper), sides_of(self.graph.output, self.lower, chunk=self.chunk)])

    def intermediate(self) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Bounds of what enters the relaxed operations, by name."""
        return {
            name: (node.value + self.interval[node].lower, node.value + self.interval[node].upper)
            for node, name in self.names.items()
        }


def intermediate_name(start: Node, users: list[Node]) -> str:
    """The relaxed operation's name; with the parent's number where it has several."""
    user = users[0]
    place = [_start(p) for p in user.parents].index(start)
    if isinstance(user.operation, Largest):
        return user.name + ("", ".leads")[place]
    return user.name if len(user.parents) == 1 else f"{user.name}.{place}"


def _start(node):
    while isinstance(node.operation, Linear) and node.operation.structural:
        (node,) = node.parents
    return node


def _tightest(sides):
    lower, upper = sides[0]
    for other in sides[1:]:
        lower, upper = jnp.fmax(lower, other[0]), jnp.fmin(upper, other[1])  # NaN is what is not known
    return lower, upper


def _undecided(user, node, intervals):
    """Where a relaxed operation needs better bounds of `node` than it has; None for everywhere."""
    if isinstance(user.operation, Largest) and node is user.parents[1]:
        return user.operation.is_undecided(user, intervals[node])
    if user.parents != (node,) or not isinstance(user.operation, Hinge):
        return None
    return user.operation.is_undecided(user, [intervals[node]])


def _is_affine(node):
    """Whether no relaxed operation lies between the input and the node."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.operation is not None and not isinstance(current.operation, Linear):
            return False
        waiting.extend(current.parents)
    return True
