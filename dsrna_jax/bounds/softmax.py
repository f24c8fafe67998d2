"""Softmax, log(softmax) and log(sum exp), recognised by how they are made: exp, its sum over axes, a logarithm or a quotient.

A shift by the maximum before exp changes no softmax, and is recognised. Without it exp may leave its range, and then there
are no bounds. Other shifts are bounded as differences, with their rounding.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.bounds.graph import Linear, Node, Predicate
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.relaxations.curve import Curve
from dsrna_jax.bounds.relaxations.softmax import LogSoftmax, LogSumExp, Probability, Unshifted
from dsrna_jax.bounds.rules.building import with_axes_in_front
from dsrna_jax.bounds.sums import sources

# exp(x) x for log-probabilities x; and where log is taken of exp(x), which must not be flushed to 0.
ENTROPY = Curve(lambda x: jnp.exp(x) * x, (-2.0,), size=lambda x, f: 1 + f)
ENTROPY_OF_NORMAL = Curve(
    lambda x: jnp.where(x > jnp.log(jnp.finfo(x.dtype).tiny), jnp.exp(x) * x, jnp.nan), (-2.0,), size=lambda x, f: 1 + f
)


def softmaxes(tracer, primitive, operands) -> list | None:
    """[node] if an operation completes a softmax or a part of it; else None."""
    if not all(isinstance(operand, Node) for operand in operands):
        return None
    rule = {
        "div": _quotient,
        "log": _logarithm,
        "add": _shifted_back,
        "sub": _difference,
        "exp": _exponential,
        "mul": _entropy,
    }.get(primitive.name)
    return rule(tracer, *operands) if rule is not None else None


def _quotient(tracer, top, bottom):
    """[node] of exp(y) / sum(exp(y)), or None."""
    for total, places in sources(tracer, bottom):
        for summed, summed_axes in _sums(tracer, total):
            if not _is_beside(total, places, summed_axes, bottom.value.shape, top) or summed.value.shape != top.value.shape:
                continue
            for (y,) in _ways(tracer, top, "exp"):
                x = _unshifted(tracer, y, summed_axes)
                if summed is top or _is_masked_alike(tracer, summed, top, x):
                    return [_softmax(tracer, x if x is not y else _in_range(tracer, y, summed_axes), summed_axes)]
    return None


def _logarithm(tracer, x):
    """[node] of log(sum(exp(y))), or None."""
    total = _total(tracer, x)
    if total is None:
        return None
    summed, summed_axes = total
    for (y,) in _ways(tracer, summed, "exp"):
        known = y if _unshifted(tracer, y, summed_axes) is not y else _in_range(tracer, y, summed_axes)
        return [_recorded(tracer, y, known, summed_axes, x.value.shape)]
    return None


def _recorded(tracer, x, known, summed_axes, shape):
    """The node of log(sum(exp(x))) in `shape`: its own, or with the axes of the sum, of size 1 or repeated.

    known: x, or x as it is known where f computes the sum without a shift.
    """
    log = _log_sum_exp(tracer, known, summed_axes)
    spread = _spread(tracer, log, summed_axes, shape) if len(shape) == x.value.ndim else log
    tracer.log_sums[spread] = (x, summed_axes)
    return spread


def _shifted_back(tracer, left, right):
    """[node] of log(sum(exp(x - m))) + m, with a maximum m, or None."""
    for log, shift in ((left, right), (right, left)):
        if log not in tracer.log_sums:
            continue
        y, summed_axes = tracer.log_sums[log]
        if shift.value.shape != log.value.shape:
            continue
        for x, shifted in _ways(tracer, y, "sub"):
            if not isinstance(x, Node) or x.value.shape != y.value.shape or not _is_maximum(tracer, shifted, summed_axes, x):
                continue
            for source, places in sources(tracer, shifted):
                if source is shift and _is_beside(source, places, summed_axes, shifted.value.shape, x):
                    return [_recorded(tracer, x, x, summed_axes, log.value.shape)]
    return None


def _difference(tracer, y, log):
    """[node] of y - log(sum(exp(y))), or None."""
    for source, places in sources(tracer, log):
        if source in tracer.log_sums:
            summed, summed_axes = tracer.log_sums[source]
            if summed is y and _is_beside(source, places, summed_axes, log.value.shape, y):
                x = _unshifted(tracer, y, summed_axes)
                return [_log_softmax(tracer, x if x is not y else _in_range(tracer, y, summed_axes), summed_axes)]
    return None


def _exponential(tracer, x):
    """[node] of exp(log_softmax(y)), or None."""
    return [_probability(tracer, x)] if isinstance(x.operation, LogSoftmax) else None


def _entropy(tracer, left, right):
    """[node] of p log(p) with a probability p, or None."""
    for p, log in ((left, right), (right, left)):
        if isinstance(p.operation, Probability):
            (x,), value = p.parents, p.value * log.value
            if _is_same_log(x, log):
                return [tracer.node(ENTROPY, (x,), value, x.batch_axis, "entropy")]
            if any(source is p for (source,) in _ways(tracer, log, "log")):
                return [tracer.node(ENTROPY_OF_NORMAL, (x,), value, x.batch_axis, "entropy")]
    return None


def _is_same_log(x, log) -> bool:
    """Whether two nodes are the log(softmax) of the same node over the same axes."""
    return log is x or (isinstance(log.operation, LogSoftmax) and log.operation == x.operation and log.parents[0] is x.parents[0])


def _probability(tracer, x):
    return tracer.node(Probability(), (x,), jnp.exp(x.value), x.batch_axis, "softmax")


def _log_sum_exp(tracer, x, summed_axes):
    """The node of L(x), without the axes that it sums over."""
    x = _finite(tracer, x)
    (entries,) = tracer.inline(functools.partial(with_axes_in_front, axes=summed_axes), x)
    batch_axis = x.batch_axis - sum(axis < x.batch_axis for axis in summed_axes)
    return tracer.node(LogSumExp(), (entries,), jax.nn.logsumexp(entries.value, axis=0), batch_axis, "logsumexp")


def _log_softmax(tracer, x, summed_axes):
    x = _finite(tracer, x)
    log = _log_sum_exp(tracer, x, summed_axes)
    spread = _spread(tracer, log, summed_axes, x.value.shape)
    value = jax.nn.log_softmax(x.value, summed_axes)
    return tracer.node(LogSoftmax(summed_axes), (x, spread), value, x.batch_axis, "log_softmax")


def _softmax(tracer, x, summed_axes):
    return _probability(tracer, _log_softmax(tracer, x, summed_axes))


def _spread(tracer, log, summed_axes, shape):
    """A result of sums over axes, repeated along them as in a shape."""

    def repeated(a):
        a = jnp.expand_dims(a, summed_axes)
        return jnp.broadcast_to(a, [shape[i] if i in summed_axes else n for i, n in enumerate(a.shape)])

    return tracer.inline(repeated, log)[0]


def _in_range(tracer, x, summed_axes):
    """x, unknown where sum(exp(x)) may leave its range, since f computes it without a shift."""
    key = ("in range", x.index, summed_axes)
    if key not in tracer.known:
        tracer.known[key] = [tracer.node(Unshifted(summed_axes), (x,), x.value, x.batch_axis)]
    return tracer.known[key][0]


def _finite(tracer, x):
    """x with numbers in place of -inf, which masks entries: their exp is 0 either way."""
    key = ("finite", x.index)
    if key not in tracer.known:
        lowest = jnp.finfo(x.value.dtype).min / 64  # allowances for its rounding are finite
        same = lambda d: d  # noqa: E731
        operation = Linear(same, same, structural=True, singleton=True, power=lambda q: same)
        tracer.known[key] = [tracer.node(operation, (x,), jnp.maximum(x.value, lowest), x.batch_axis)]
    return tracer.known[key][0]


def _ways(tracer, node, name):
    """The operands of each operation of a name that made a node."""
    return [made.operands for made in tracer.made.get(node, ()) if made.name == name]


def _sums(tracer, total):
    """(operand, axes) of each sum that made a node."""
    made = [m for m in tracer.made.get(total, ()) if m.name == "reduce_sum"]
    return [(m.operands[0], tuple(m.params["axes"])) for m in made if isinstance(m.operands[0], Node)]


def _is_beside(source, places, summed_axes, spread_shape, like, at=None) -> bool:
    """Whether an array of `spread_shape` that repeats `source`, sums over axes of `like`, broadcasts against its own terms.

    at: the axes of the terms along which those of `like` lie, if `like` is moved; an axis of size 1 may have none.
    """
    whole = like.value.shape
    at = range(len(whole)) if at is None else at
    kept = [i for i in range(len(whole)) if i not in summed_axes]
    own = kept if source.value.ndim == len(kept) else list(range(len(whole)))
    if len(spread_shape) != len(whole) or source.value.ndim != len(own):
        return False
    for size, place, axis in zip(source.value.shape, places, own, strict=True):
        if size != (1 if axis in summed_axes else whole[axis]) or (size != 1 and place != at[axis]):
            return False
    return all(
        spread_shape[place] in (whole[i], 1 if i in summed_axes else whole[i]) for i, place in enumerate(at) if place is not None
    )


def _total(tracer, x):
    """(summed, axes) if x is a sum of exp, or its absolute value, with or without the axes that it sums over; else None."""
    for source in (x, *(o[0] for o in _ways(tracer, x, "abs"))):
        for total, places in sources(tracer, source):
            for summed, summed_axes in _sums(tracer, total):
                is_kept = _is_beside(total, places, summed_axes, source.value.shape, summed)
                if _ways(tracer, summed, "exp") and (source is total or is_kept):
                    return summed, summed_axes
    return None


def _is_maximum(tracer, operand, summed_axes, x) -> bool:
    """Whether an operand is the maximum of x, or of x under a mask, along axes, repeated to the shape of x."""
    if not isinstance(operand, Node):
        return False
    moved = [(like, at) for like, at in sources(tracer, x) if like.value.size == x.value.size]
    for source, places in sources(tracer, operand):
        for made in tracer.made.get(source, ()):
            for like, at in moved if made.name == "reduce_max" else ():
                (whole,), axes = made.operands, made.params["axes"]
                if whole is like or any(like is case for _, *cases in _ways(tracer, whole, "select_n") for case in cases):
                    if {at[axis] for axis in axes} == set(summed_axes):
                        return _is_beside(source, places, axes, operand.value.shape, like, at)
    return False


def _unshifted(tracer, y, summed_axes):
    """x if y = x - max(x); otherwise y itself."""
    for x, shift in _ways(tracer, y, "sub"):
        if isinstance(x, Node) and x.value.shape == y.value.shape and _is_maximum(tracer, shift, summed_axes, x):
            return _unshifted(tracer, x, summed_axes)
    return y


def _is_masked_alike(tracer, summed, top, x) -> bool:
    """Whether `summed` is `top` with zeros exactly where a known mask makes x -inf: exp(x) is 0 there already."""
    for mask, *cases in _ways(tracer, summed, "select_n"):
        for other, *inputs in _ways(tracer, x, "select_n"):
            if len(cases) != 2 or mask is not other or isinstance(mask, Node | Predicate):
                continue
            outside = [i for i in (0, 1) if cases[i] is not top and not isinstance(cases[i], Node) and number(cases[i]) == 0]
            hidden = [i for i in (0, 1) if not isinstance(inputs[i], Node) and number(inputs[i]) == -np.inf]
            if outside == hidden and len(hidden) == 1 and cases[1 - hidden[0]] is top:
                return True
    return False
