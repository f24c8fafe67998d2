"""What each JAX primitive does to bounded values: a table by the primitive's name, and how to add to it."""

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax.bounds.composed import difference as affine_difference
from dsrna_jax.bounds.composed import meet, number, recognised
from dsrna_jax.bounds.graph import Linear, Node, Predicate, evaluated
from dsrna_jax.bounds.relaxations import Choice, Curve, Hinge, Larger, Largest, Product, leader_of
from dsrna_jax.depthwise import depthwise

# A rule is (tracer, primitive, operands, params, batch axes of the outputs) -> outputs; operands are nodes and arrays.
RULES: dict[str, Callable] = {}


def register(primitive: str, rule: Curve | Callable) -> None:
    """Teaches the bounds a primitive.

    Args:
      primitive: its name, as `jax.make_jaxpr` shows it.
      rule: a `Curve`, for an elementwise function of one value; or a function of the primitive's operands and parameters that
        computes the same by operations that have rules.
    """
    if isinstance(rule, Curve):
        RULES[primitive] = _curve(rule)
    else:
        RULES[primitive] = _rewrite(rule)


def _values(operands):
    return [o.value if isinstance(o, Node) else o for o in operands]


def _bounded(operands):
    return [o for o in operands if isinstance(o, Node)]


def _call(primitive, operands, params):
    """The primitive as a function of its bounded operands, what stands for the constants given."""

    def f(*arrays, constants=tuple(operands)):
        arrays = iter(arrays)
        return evaluated(
            primitive, [next(arrays) if isinstance(o, Node) else c for o, c in zip(operands, constants, strict=True)], params
        )

    return f


def _linear(tracer, primitive, operands, params, axes, constants, positive, **kinds):
    """Nodes of an operation that is linear in its bounded operands, with `constants` for the others, |.|^q by `positive`."""
    call = _call(primitive, operands, params)
    outputs = evaluated(primitive, _values(operands), params)

    def node(i, value, axis):
        operation = Linear(
            lambda *d: call(*d, constants=constants)[i],
            lambda *r: call(*r, constants=positive(1))[i],
            power=lambda q: lambda r: call(r, constants=positive(q))[i],
            **kinds,
        )
        return tracer.node(operation, _bounded(operands), value, axis)

    return [node(i, *pair) for i, pair in enumerate(zip(outputs, axes, strict=True))]


def _moving(*data, structural=True, singleton=False):
    """Moves or sums entries; constants among the operands `data` count as zero, all others are indices and the like."""

    def rule(tracer, primitive, operands, params, axes):
        if isinstance(operands[0], Predicate):
            (moved,) = rule(tracer, primitive, [operands[0].difference], params, axes)
            return [dataclasses.replace(operands[0], left=moved, right=0.0, difference=moved)]
        zero = lambda o: jnp.zeros(jnp.shape(o), jnp.result_type(o))  # noqa: E731
        constants = [zero(o) if i in (data or range(1)) and not isinstance(o, Node) else o for i, o in enumerate(operands)]
        kinds = {"structural": structural and len(_bounded(operands)) == 1, "singleton": singleton}
        return _linear(tracer, primitive, operands, params, axes, constants, lambda q: constants, **kinds)

    return rule


def _elementwise_sum(sign):
    """add and sub; with one bounded operand the deviation stays what it is, but for its sign."""

    def rule(tracer, primitive, operands, params, axes):
        if len(_bounded(operands)) == 2 and (known := _recognised(tracer, primitive, operands, params, axes)) is not None:
            return known
        value = evaluated(primitive, _values(operands), params)[0]
        signs = [s for s, o in zip((1, sign), operands, strict=True) if isinstance(o, Node)]
        parents = _bounded(operands)

        def spread(d):
            return jnp.broadcast_to(d, value.shape)

        def deviation(*deviations):
            return functools.reduce(jnp.add, [spread(d) if s > 0 else -spread(d) for s, d in zip(signs, deviations, strict=True)])

        def magnitude(*radii):
            return functools.reduce(jnp.add, map(spread, radii))

        single = len(parents) == 1 and parents[0].value.shape == value.shape
        operation = Linear(deviation, magnitude, structural=single and signs == [1], singleton=single, power=lambda q: magnitude)
        return [tracer.node(operation, parents, value, axes[0])]

    return rule


def _scaled(singleton=False, **kinds):
    """Bilinear operations with one constant operand."""

    def rule(tracer, primitive, operands, params, axes):
        if len(_bounded(operands)) > 1:
            return _both_bounded(tracer, primitive, operands, params, axes)
        absolute = lambda q: [o if isinstance(o, Node) else jnp.abs(o) ** q for o in operands]  # noqa: E731
        alone = singleton and _bounded(operands)[0].value.shape == tuple(evaluated_shape(primitive, operands, params))
        return _linear(tracer, primitive, operands, params, axes, operands, absolute, singleton=alone, **kinds)

    return rule


def _convolution(tracer, primitive, operands, params, axes):
    image, kernel = operands
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    is_depthwise = (
        isinstance(image, Node)
        and not isinstance(kernel, Node)
        and image.value.ndim == 4
        and groups == image.value.shape[numbers.lhs_spec[1]] > 1
        and params["batch_group_count"] == 1
        and params["lhs_dilation"] == (1, 1)
        and len(set(params["window_strides"])) == 1
    )
    if not is_depthwise:
        return _scaled()(tracer, primitive, operands, params, axes)
    return tracer.inline(functools.partial(_shifted_convolution, **params), image, kernel)


def _shifted_convolution(image, kernel, *, window_strides, padding, rhs_dilation, dimension_numbers, **_):
    """A depthwise conv_general_dilated by our own primitive, which is some thirty times faster on a CPU, also transposed."""
    lhs, rhs, out = dimension_numbers
    maps = jnp.transpose(image, (lhs[1], lhs[0], *lhs[2:]))[None]  # [1, channel, batch, height, width]
    channels, size, stride = maps.shape[1], maps.shape[-2:], window_strides[0]
    taps = jnp.transpose(kernel, (*rhs[2:], rhs[0], rhs[1]))[..., 0]  # [height, width, channel * multiple]
    sides = taps.shape[:2]
    offsets = [tuple(t * d - p[0] for t, d, p in zip(tap, rhs_dilation, padding, strict=True)) for tap in np.ndindex(*sides)]
    wanted = [(n + sum(p) - (k - 1) * d - 1) // stride + 1 for n, p, k, d in zip(size, padding, sides, rhs_dilation, strict=True)]
    extra = [max(w * stride - n, 0) for w, n in zip(wanted, size, strict=True)]
    maps = jnp.pad(maps, [(0, 0)] * 3 + [(0, e) for e in extra])
    kernels = jnp.moveaxis(taps.reshape(len(offsets), 1, channels, -1), -1, 2)
    result = depthwise(maps, kernels, offsets, stride=stride)[0, ..., : wanted[0], : wanted[1]]
    result = jnp.moveaxis(result, 0, 1).reshape(-1, *result.shape[2:])  # [channel * multiple, batch, height, width]
    return jnp.transpose(result, np.argsort((out[1], out[0], *out[2:])))


def evaluated_shape(primitive, operands, params):
    """Shape of the primitive's output."""
    return jax.eval_shape(lambda *v: evaluated(primitive, v, params)[0], *_values(operands)).shape


def _product_of_matrices(tracer, primitive, operands, params, axes):
    kinds = {}
    if len(_bounded(operands)) == 1:
        # As an einsum, which puts the result's axes where they belong; JAX's own transposition copies the whole array for that.
        is_left = isinstance(operands[0], Node)
        bounded, constant, result = _dot_labels(*map(np.ndim, _values(operands)), params["dimension_numbers"], is_left)
        matrix = operands[1] if is_left else operands[0]
        kinds["transposed"] = lambda rows: (jnp.einsum(matrix, constant, rows, result, bounded),)
    return _scaled(**kinds)(tracer, primitive, operands, params, axes)


def _dot_labels(left_rank, right_rank, dimension_numbers, is_left):
    """Labels of the axes of a dot_general: of the bounded operand, of the constant one, and of the result."""
    (left_sum, right_sum), (left_batch, right_batch) = dimension_numbers
    left, right = list(range(left_rank)), [left_rank + i for i in range(right_rank)]
    for i, j in itertools.chain(zip(left_sum, right_sum, strict=True), zip(left_batch, right_batch, strict=True)):
        right[j] = left[i]
    shared, summed = [left[i] for i in left_batch], [left[i] for i in left_sum]
    result = shared + [n for n in left + right if n not in shared + summed]
    return (left, right, result) if is_left else (right, left, result)


def _both_bounded(tracer, primitive, operands, params, axes):
    if primitive.name == "mul":
        return _product(tracer, primitive, operands, params, axes)
    if primitive.name == "dot_general":
        return tracer.inline(functools.partial(_dot_by_products, **params), *operands)
    raise NotImplementedError(f"no bounds of {primitive.name} with two bounded operands{tracer.where}")


def _dot_by_products(a, b, *, dimension_numbers, **_):
    """dot_general as a sum of elementwise products."""
    (left, right), (left_batch, right_batch) = dimension_numbers
    names = itertools.count()
    a_names, b_names = [None] * a.ndim, [None] * b.ndim
    for i, j in itertools.chain(zip(left_batch, right_batch, strict=True), zip(left, right, strict=True)):
        a_names[i] = b_names[j] = next(names)
    a_names = [next(names) if n is None else n for n in a_names]
    b_names = [next(names) if n is None else n for n in b_names]
    shared, summed = [a_names[i] for i in left_batch], [a_names[i] for i in left]
    free = [n for n in a_names + b_names if n not in shared and n not in summed]
    order = shared + free + summed

    def placed(x, own):
        x = jnp.transpose(x, [own.index(n) for n in order if n in own])
        return x.reshape([x.shape[[m for m in order if m in own].index(n)] if n in own else 1 for n in order])

    product = placed(a, a_names) * placed(b, b_names)
    return product.sum(tuple(range(len(shared) + len(free), len(order))))


def _recognised(tracer, primitive, operands, params, axes):
    """[node] of what users write out of several operations, else None."""
    composed = tracer.as_function(primitive, operands, params)
    found = recognised(composed)
    if found is None:
        return None
    name, operation = found
    return [tracer.node(operation, (composed.root,), composed.function(composed.root.value), axes[0], name)]


def _product(tracer, primitive, operands, params, axes):
    known = _recognised(tracer, primitive, operands, params, axes)
    if known is not None:
        return known
    a, b = _spread(tracer, operands, axes)
    return [tracer.node(Product(), (a, b), a.value * b.value, axes[0], "product")]


def _quotient(tracer, primitive, operands, params, axes):
    if isinstance(operands[1], Node):
        known = _recognised(tracer, primitive, operands, params, axes)
        if known is not None:
            return known
        (inverse,) = _curve(RECIPROCAL, "reciprocal")(tracer, None, [operands[1]], {}, axes)
        return tracer.inline(lambda a, b: a * b, operands[0], inverse)
    absolute = lambda q: [operands[0], jnp.abs(operands[1]) ** q]  # noqa: E731
    alone = operands[0].value.shape == tuple(evaluated_shape(primitive, operands, params))
    return _linear(tracer, primitive, operands, params, axes, operands, absolute, singleton=alone)


def _spread(tracer, operands, axes) -> list[Node]:
    """The bounded operands, brought to the shape that all operands have together."""
    shape = jnp.broadcast_shapes(*map(jnp.shape, _values(operands)))
    move = lambda x: jnp.broadcast_to(x, shape)  # noqa: E731
    return [
        n if n.value.shape == shape else tracer.node(Linear(move, move, structural=True), (n,), move(n.value), axes[0])
        for n in _bounded(operands)
    ]


def _hinge(left, right):
    """max and min: with a constant a hinge at it, of two bounded values by relu."""

    def rule(tracer, primitive, operands, params, axes):
        nodes = _bounded(operands)
        if len(nodes) == 2:
            known = _recognised(tracer, primitive, operands, params, axes)
            if known is not None:
                return known
            a, b = _spread(tracer, operands, axes)
            if right < left:
                (negative,) = tracer.inline(lambda a, b: jnp.maximum(-a, -b), a, b)
                return tracer.inline(jnp.negative, negative)
            (above,) = tracer.inline(lambda a, b: jax.nn.relu(a - b), a, b)
            return [tracer.node(Larger(), (a, b, above), jnp.maximum(a.value, b.value), axes[0], "max")]
        (constant,) = (o if number(o) is None else number(o) for o in operands if not isinstance(o, Node))
        if number(constant) is not None and constant == (-np.inf if right > left else np.inf):
            return nodes
        value = evaluated(primitive, _values(operands), params)[0]
        name = {"max": "relu"}.get(primitive.name, primitive.name)
        return [tracer.node(Hinge(left, right, constant), _spread(tracer, operands, axes), value, axes[0], name)]

    return rule


def _curve(curve: Curve, name=None):
    def rule(tracer, primitive, operands, params, axes):
        (x,) = operands
        return [tracer.node(curve, (x,), curve.function(x.value), axes[0], name or primitive.name)]

    return rule


def _power(tracer, primitive, operands, params, axes):
    exponent = params["y"]
    if exponent == 1:
        return operands
    return _curve(power_curve(exponent), "power")(tracer, primitive, operands, params, axes)


def power_curve(exponent: int) -> Curve:
    """x ** exponent."""
    odd_or_pole = (0.0,) if exponent < 0 or exponent % 2 else ()
    return Curve(lambda x: x**exponent, odd_or_pole, poles=(0.0,) if exponent < 0 else ())


RECIPROCAL = power_curve(-1)


def _real_power(tracer, primitive, operands, params, axes):
    """x ** constant for x > 0, and constant ** x for a constant > 0."""
    base, exponent = operands
    if not isinstance(exponent, Node) and (power := number(exponent)) is not None:
        return _curve(Curve(lambda x: x**power), "power")(tracer, primitive, [base], params, axes)
    return tracer.inline(lambda base, exponent: jnp.exp(exponent * jnp.log(base)), base, exponent)


def _comparison(tracer, primitive, operands, params, axes):
    name, left, right = primitive.name, operands[0], operands[-1]
    if name == "is_finite":
        return [Predicate(name, left, None, None, True)]
    is_infinite = any(number(o) is not None and np.isinf(number(o)) for o in operands if not isinstance(o, Node))
    if name in ("eq", "ne") and (left is right or is_infinite):
        return [Predicate(name, left, right, None, (left is right) == (name == "eq"))]
    (difference,) = tracer.inline(jnp.subtract, left, right)
    return [Predicate(name, left, right, difference)]


def _opposite(tracer, primitive, operands, params, axes):
    (predicate,) = operands
    if predicate.outcome is not None:
        return [dataclasses.replace(predicate, outcome=not predicate.outcome)]
    opposite = {"gt": "le", "le": "gt", "lt": "ge", "ge": "lt"}.get(predicate.compare, "ne")
    return [dataclasses.replace(predicate, compare=opposite)]


def _select(tracer, primitive, operands, params, axes):
    predicate, *cases = operands
    if not isinstance(predicate, Predicate):
        return _moving(*range(1, len(operands)), structural=False)(tracer, primitive, operands, params, axes)
    if predicate.outcome is not None:
        return [cases[predicate.outcome]]
    if predicate.compare not in ("gt", "ge", "lt", "le"):
        raise NotImplementedError(f"no bounds of a choice by {predicate.compare}{tracer.where}")
    known = _piecewise(tracer, primitive, operands, params, axes)
    if known is not None:
        return known
    parents = [predicate.difference, *(c if isinstance(c, Node) else _fixed(tracer, c, predicate.difference) for c in cases)]
    value = lax.select_n(_is_true(predicate), *(p.value for p in parents[1:]))
    return [tracer.node(Choice(predicate.compare), parents, value, axes[0], "select")]


def _fixed(tracer, constant, parent):
    """A node that is a constant."""
    value = jnp.broadcast_to(constant, parent.value.shape)
    return tracer.node(Linear(lambda d: 0 * d, lambda r: 0 * r), (parent,), value, parent.batch_axis)


def _piecewise(tracer, primitive, operands, params, axes):
    """A choice between two functions of one value that meet where the choice changes, else None."""
    predicate, *cases = operands
    sides = [tracer.composed_of(o) for o in (predicate.left, predicate.right)]
    parts = [tracer.composed_of(c) for c in cases]
    if len({id(p.root) for p in sides + parts if p is not None}) != 1:
        return None
    root = next(p.root for p in sides if p is not None)
    pair = lambda part, o: (0.0, o if number(o) is None else number(o)) if part is None else part.affine  # noqa: E731
    bend = affine_difference(*map(pair, sides, (predicate.left, predicate.right)))
    if bend is None or number(bend[0]) is None or bend[0] == 0:
        return None
    at = 0.0 if number(bend[1]) == 0 else -bend[1] / bend[0]
    true_above = (predicate.compare in ("gt", "ge")) == bool(bend[0] > 0)
    order = (0, 1) if true_above else (1, 0)
    lines = [pair(parts[i], cases[i]) for i in order]
    if None not in lines and meet(*lines, at, np.finfo(root.value.dtype).eps):
        value = lax.select_n(_is_true(predicate), *(jnp.broadcast_to(v, root.value.shape) for v in _values(cases)))
        return [tracer.node(Hinge(lines[0][0], lines[1][0], at), (root,), value, axes[0], "relu")]
    known = _recognised(tracer, primitive, operands, params, axes)
    if known is not None or number(at) is None:
        return known
    functions = [_function(parts[i], cases[i]) for i in order]
    if None in functions:
        return None
    with jax.ensure_compile_time_eval():
        left, right = (np.asarray(f(jnp.asarray(at, root.value.dtype))) for f in functions)
    if not np.abs(left - right) <= 8 * np.finfo(left.dtype).eps * np.abs(left):
        return None
    below, above = functions
    return tracer.inline(lambda x: below(jnp.minimum(x, at)) + (above(jnp.maximum(x, at)) - right), root)


def _function(part, constant):
    if part is not None:
        return part.function
    return None if number(constant) is None else lambda x: number(constant)


def _is_true(predicate: Predicate):
    """The truth of a comparison at the point of the trace."""
    compare = {"gt": jnp.greater, "ge": jnp.greater_equal, "lt": jnp.less, "le": jnp.less_equal}[predicate.compare]
    return compare(predicate.difference.value, 0)


def _largest(sign):
    """reduce_max and reduce_min."""

    def rule(tracer, primitive, operands, params, axes):
        reduced = params["axes"]

        def ahead(x):
            kept = [i for i in range(x.ndim) if i not in reduced]
            return jnp.transpose(sign * x, (*reduced, *kept)).reshape(-1, *(x.shape[i] for i in kept))

        (stacked,) = tracer.inline(ahead, *operands)
        top = _top(tracer, stacked, axes[0], "max")
        return [top] if sign > 0 else tracer.inline(jnp.negative, top)

    return rule


def _window_largest(tracer, primitive, operands, params, axes):
    """reduce_window_max: the windows' entries on a new first axis, and their largest."""
    (x,) = operands
    window, strides, dilation = params["window_dimensions"], params["window_strides"], params["window_dilation"]
    borders = [(*p, d - 1) for p, d in zip(params["padding"], params["base_dilation"], strict=True)]

    def windows(x, fill):
        padded = lax.pad(x, np.asarray(fill, x.dtype), borders)
        counts = [(n - (w - 1) * d - 1) // s + 1 for n, w, d, s in zip(padded.shape, window, dilation, strides, strict=True)]
        slices = []
        for offset in np.ndindex(*window):
            start = [o * d for o, d in zip(offset, dilation, strict=True)]
            stop = [a + (c - 1) * s + 1 for a, c, s in zip(start, counts, strides, strict=True)]
            slices.append(lax.slice(padded, start, stop, strides))
        return jnp.stack(slices)

    lowest = -np.sqrt(np.finfo(x.value.dtype).max)  # padding: below all that is not, yet products of it stay finite
    move = functools.partial(windows, fill=0)
    entries = tracer.node(Linear(move, move, structural=True), (x,), windows(x.value, lowest), axes[0] + 1)
    return [_top(tracer, entries, axes[0], "max_pool")]


def _top(tracer, entries, batch_axis, name):
    """The node of the largest entry, on the first axis."""
    leader = leader_of(entries.value)

    def behind(d):
        return d - jnp.where(leader, d, 0).sum(0)

    def magnitude(r):
        return jnp.where(leader, 0, r + jnp.where(leader, r, 0).sum(0))

    leads = tracer.node(Linear(behind, magnitude), (entries,), behind(entries.value), entries.batch_axis)
    return tracer.node(Largest(), (entries, leads), entries.value.max(0), batch_axis, name)


def _trilinear(tracer, primitive, operands, params, axes):
    if params["solve"] != "output" or not isinstance(operands[0], Node) or isinstance(operands[1], Node):
        raise NotImplementedError(f"no bounds of {primitive.name} but by its image{tracer.where}")
    return _scaled()(tracer, primitive, operands, params, axes)


def _identity(tracer, primitive, operands, params, axes):
    return list(operands)


def _scatter(tracer, primitive, operands, params, axes):
    """Entries overwritten by constants are a product with 0 and 1."""
    target, indices, updates = operands
    if isinstance(updates, Node):
        if not params["unique_indices"]:
            raise NotImplementedError(f"no bounds of {primitive.name} of bounded values to indices that may repeat{tracer.where}")
        return _moving(0, 2, structural=False)(tracer, primitive, operands, params, axes)
    (kept,) = evaluated(primitive, [jnp.ones_like(target.value), indices, jnp.zeros_like(updates)], params)
    (value,) = evaluated(primitive, _values(operands), params)
    scaled = lambda d: d * kept  # noqa: E731
    return [tracer.node(Linear(scaled, scaled, power=lambda q: scaled, singleton=True), (target,), value, axes[0])]


def _cast(tracer, primitive, operands, params, axes):
    if not jnp.issubdtype(params["new_dtype"], jnp.floating):
        raise NotImplementedError(f"no bounds of a conversion to {np.dtype(params['new_dtype']).name}{tracer.where}")
    if isinstance(operands[0], Predicate):
        cases = [np.broadcast_to(np.asarray(v, params["new_dtype"]), operands[0].difference.value.shape) for v in (0, 1)]
        return _select(tracer, lax.select_n_p, [operands[0], *cases], {}, axes)
    return _moving(0, singleton=True)(tracer, primitive, operands, params, axes)


def _rewrite(function):
    def rule(tracer, primitive, operands, params, axes):
        return tracer.inline(functools.partial(function, **params), *operands)

    return rule


RULES |= {
    "add": _elementwise_sum(1),
    "add_any": _elementwise_sum(1),
    "sub": _elementwise_sum(-1),
    "neg": _rewrite(lambda x: -1 * x),
    "mul": _scaled(singleton=True),
    "div": _quotient,
    "dot_general": _product_of_matrices,
    "conv_general_dilated": _convolution,
    "depthwise": _trilinear,
    "pointwise": _trilinear,
    "max": _hinge(0.0, 1.0),
    "min": _hinge(1.0, 0.0),
    "abs": lambda tracer, primitive, operands, params, axes: [
        tracer.node(Hinge(-1.0, 1.0), operands, jnp.abs(operands[0].value), axes[0], "abs")
    ],
    "clamp": _rewrite(lambda low, x, high: jnp.minimum(jnp.maximum(x, low), high)),
    "reduce_max": _largest(1),
    "reduce_min": _largest(-1),
    "reduce_window_max": _window_largest,
    "select_n": _select,
    "integer_pow": _power,
    "square": _curve(Curve(jnp.square)),
    "exp": _curve(Curve(jnp.exp)),
    "exp2": _curve(Curve(jnp.exp2)),
    "expm1": _curve(Curve(jnp.expm1)),
    "log": _curve(Curve(jnp.log)),
    "log1p": _curve(Curve(jnp.log1p)),
    "sqrt": _curve(Curve(jnp.sqrt)),
    "rsqrt": _curve(Curve(lax.rsqrt)),
    "logistic": _curve(Curve(jax.nn.sigmoid, (0.0,))),
    "tanh": _curve(Curve(jnp.tanh, (0.0,))),
    "erf": _curve(Curve(lax.erf, (0.0,))),
    "erfc": _curve(Curve(lax.erfc, (0.0,))),
    "convert_element_type": _cast,
    "rev": _moving(0, singleton=True),
    "not": _opposite,
    "pow": _real_power,
    "tile": _moving(0, structural=True),
    "split": _moving(0, structural=True),
    "unstack": _moving(0, structural=True),
    "gather": _moving(0, structural=True),
    "dynamic_slice": _moving(0, structural=True),
    "reduce_sum": _moving(0, structural=False),
    "reduce_window_sum": _moving(0, structural=False),
    "scatter-add": _moving(0, 2, structural=False),
    "scatter": _scatter,
    "dynamic_update_slice": _moving(0, 1, structural=False),
    "pad": _moving(0, 1, singleton=True),
}
RULES |= {name: _moving(0, singleton=True) for name in ("reshape", "transpose", "squeeze", "expand_dims", "slice")}
RULES |= {name: _moving(0) for name in ("broadcast_in_dim", "reduce_precision")}
RULES |= {name: _moving(*range(1000)) for name in ("concatenate", "stack")}
RULES |= {"cumsum": _moving(0, structural=False)}
RULES |= {name: _comparison for name in ("gt", "ge", "lt", "le", "ne", "eq", "is_finite")}
RULES |= {
    name: _identity
    for name in ("stop_gradient", "optimization_barrier", "copy", "copy_p", "sharding_constraint", "layout_constraint")
}
