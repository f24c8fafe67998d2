"""alpha-CROWN: lower slopes of hinges optimised for every functional (Xu et al. 2021, arXiv:2011.13824).

Bounds of intermediate values are optimised as well, each for itself, layer by layer. A bound can only tighten as the intervals
before it do, so this is at least as tight as optimising all of them for the output together, and its gradients stay short.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from dsrna_jax.bounds.backward import Relaxed, lower_bound
from dsrna_jax.bounds.balls import Ball
from dsrna_jax.bounds.graph import Graph, Node
from dsrna_jax.bounds.relaxations.hinge import Hinge, adaptive_share


def optimised_lower_bound(graph: Graph, ball: Ball, relaxed: Relaxed, target: Node, rows, iterations: int) -> jax.Array:
    """Lower bounds of functionals of the deviation of target, rows [row, *target shape] -> [row, batch].

    Adam takes `iterations` steps, from the slopes of CROWN. Any slopes in [0, 1] are sound: the best bound of all steps counts.
    Planes of other operations are those of `relaxed`. Without hinges there is nothing to optimise, and the result is -inf.
    """
    intervals = relaxed.intervals
    hinges = [n for n in graph.nodes if isinstance(n.operation, Hinge) and n.index < target.index]
    count = len(rows)
    worst = jnp.full((count, ball.radius.shape[0]), -jnp.inf, rows.dtype)
    if not hinges:
        return worst
    fixed = {node: planes for node, planes in relaxed.made.items() if node not in hinges}

    def initial(node):
        _, low, high = node.operation.bounded_sides(node, intervals[node.parents[0]])
        return jnp.broadcast_to(adaptive_share(low, high), (count, *low.shape))

    optimizer = optax.adam(optax.exponential_decay(0.5, 1, 0.98))
    shares = {node.name: initial(node) for node in hinges}

    def bound(shares):
        slopes = {node: shares[node.name] for node in hinges}
        lower = lower_bound(graph, ball, Relaxed(intervals, slopes, dict(fixed)), target, rows)
        return lower.sum(), lower

    def climb(carry, _):
        shares, state, best = carry
        gradient, lower = jax.grad(bound, has_aux=True)(shares)
        updates, state = optimizer.update(jax.tree.map(jnp.negative, gradient), state)
        shares = jax.tree.map(lambda s, u: jnp.clip(s + u, 0, 1), shares, updates)
        return (shares, state, jnp.fmax(best, lower)), None

    # One more step bounds with the last slopes, without a second copy of the backward pass in the program.
    (_, _, best), _ = lax.scan(climb, (shares, optimizer.init(shares), worst), length=iterations + 1)
    return best
