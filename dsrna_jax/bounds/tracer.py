"""The interpreter of jaxprs that builds the graph of a function.

Values that depend on the input become nodes; all others are computed at once, as constants of the operations.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from dsrna_jax.bounds.control import CONTROL
from dsrna_jax.bounds.functions import whole
from dsrna_jax.bounds.graph import Complex, Node, Predicate, Refused, Whole
from dsrna_jax.bounds.jaxprs import (
    called_jaxpr,
    constant,
    evaluated,
    repeats_operands,
    used_equations,
    user_line,
    with_whole_operands,
)
from dsrna_jax.bounds.known import number
from dsrna_jax.bounds.library import of_library
from dsrna_jax.bounds.origins import Origins
from dsrna_jax.bounds.rules.fourier import by_parts, is_complex
from dsrna_jax.bounds.rules.whole_numbers import is_of_whole_numbers, of_whole_numbers
from dsrna_jax.bounds.separable import keeps_examples_apart
from dsrna_jax.errors import InputError, NotSeparableError
from dsrna_jax.inputs import is_known


class Tracer:
    """Builds nodes while it interprets a jaxpr; equal operations on equal operands become one node.

    where: the line of user code that is being interpreted, as " (model.py:12)", for error messages.
    known: outputs of equations by `_key`, so that equal equations share them.
    kept: values whose id is part of a key, kept alive so that no other gets the same id.
    origins: how nodes and predicates were made; `made` has the operations.
    log_sums: (y, axes) of the nodes that are log(sum(exp(y), axes)).
    least: numbers that nodes are never below, as far as they were asked for (`least`).
    repeats: the constants whose entries other constants repeat, by the id of these.
    finds_wholes: whether functions of several operations are bounded as a whole (`functions`).
    other_shapes: shapes of operands at the other batch size, by their id.
    """

    def __init__(self, batch: int, rules: dict[str, Callable], finds_wholes: bool = True):
        self.nodes: list[Node] = []
        self.batch, self.other_batch = batch, batch + 1
        self.rules = rules
        self.known: dict[Any, list] = {}
        self.kept: list[Any] = []
        self.counts: dict[str, int] = {}
        self.origins = Origins()
        self.made = self.origins.made
        self.log_sums: dict[Node, tuple[Node, tuple[int, ...]]] = {}
        self.least: dict[Node, float] = {}
        self.repeats: dict[int, Any] = {}
        self.finds_wholes = finds_wholes
        self.other_shapes: dict[int, tuple[int, ...]] = {}
        self.where = ""

    def node(self, operation, parents: Sequence[Node], value, batch_axis: int, name: str | None = None) -> Node:
        """A new node. Relaxed ones have a name, which is numbered: relu_0, relu_1."""
        if name is not None:
            count = self.counts.get(name, 0)
            self.counts[name], name = count + 1, f"{name}_{count}"
        # int: some of the parameters of JAX's primitives are integers of NumPy.
        node = Node(len(self.nodes), name or "", operation, tuple(parents), value, int(batch_axis))
        self.nodes.append(node)
        return node

    def inline(self, f: Callable, *operands, twin: Callable | None = None):
        """The outputs of f on nodes and constants, by the rules of its operations.

        twin: f for operands of the other batch size, if it is another function.
        """
        shapes, others = [], []
        for operand in operands:
            array = operand.value if isinstance(operand, Node) else jnp.asarray(operand)
            shapes.append(jax.ShapeDtypeStruct(array.shape, array.dtype))
            if isinstance(operand, Node):
                other = list(array.shape)
                other[operand.batch_axis] = self.other_batch
            else:
                other = self.other_shapes.get(id(operand), array.shape)
            others.append(jax.ShapeDtypeStruct(tuple(other), array.dtype))
        return self.interpret(jax.make_jaxpr(f)(*shapes), jax.make_jaxpr(twin or f)(*others), operands)

    def interpret(self, jaxpr, other, operands) -> list:
        """Outputs of a closed jaxpr on nodes and constants; `other` is the jaxpr of the same function at another batch size.

        Raises: NotSeparableError if the two differ in their operations.
        """
        constants, jaxpr, twin = jaxpr.consts, jaxpr.jaxpr, other.jaxpr
        if _operations(jaxpr) != _operations(twin):
            raise NotSeparableError("f is not batch-separable: it does other operations when the batch is larger")
        env = dict(zip(jaxpr.constvars, constants, strict=True)) | dict(zip(jaxpr.invars, operands, strict=True))

        def read(atom):
            return atom.val if isinstance(atom, core.Literal) else env[atom]

        used, outside = used_equations(jaxpr), self.where
        for equation, other_equation in zip(jaxpr.eqns, twin.eqns, strict=True):
            if id(equation) not in used:
                continue
            inputs = [read(atom) for atom in equation.invars]
            if any(isinstance(i, Node | Predicate | Whole | Complex | Refused) for i in inputs):
                self.where = user_line(equation) or outside
                outputs = self.bounded(equation, other_equation, inputs)
            else:
                outputs = self.constant(equation, inputs)
            env.update(zip(equation.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def constant(self, equation, inputs) -> list:
        """Outputs of an equation on constants; equal equations on the same constants have the same outputs."""
        key = self._key(equation, inputs) if inputs and not equation.effects else None
        if key is not None and key in self.known:
            return self.known[key]
        outputs = constant(equation.primitive, inputs, equation.params)
        if key is not None:
            self.known[key] = outputs
        if equation.primitive.name == "broadcast_in_dim" and not is_known(*outputs):
            self.kept.extend(outputs)
            self.repeats[id(outputs[0])] = inputs[0]
        return outputs

    def bounded(self, equation, twin, inputs) -> list:
        """Outputs of an equation with bounded inputs; `twin` is the same equation at the other batch size.

        Outputs without entries are constants. Outputs without bounds are `Refused`: an error only if the output of f needs them.
        """
        shapes = [variable.aval.shape for variable in equation.outvars]
        if all(0 in shape for shape in shapes):
            return [np.zeros(v.aval.shape, v.aval.dtype) for v in equation.outvars]
        refused = next((i for i in inputs if isinstance(i, Refused)), None)
        has_inside = equation.primitive.name in CONTROL or called_jaxpr(equation.primitive.name, equation.params) is not None
        if refused is None or has_inside:
            try:
                return self.outputs(equation, twin, inputs)
            except (InputError, NotImplementedError) as error:
                refused = Refused(error)
        return [refused] * len(shapes)

    def outputs(self, equation, twin, inputs) -> list:
        """`bounded`, for inputs that are not refused. Raises: InputError, NotImplementedError."""
        name = equation.primitive.name
        narrow = next((v.aval.dtype for v in equation.outvars if is_narrow(v.aval.dtype)), None)
        if narrow is not None:
            raise NotImplementedError(
                f"no bounds of {name} in {narrow}{self.where}, whose rounding would exceed them: "
                "compute in float32, as by dtype=jnp.float32"
            )
        algorithm = equation.params.get("precision")
        if is_of_other_precision(algorithm, equation.outvars[0].aval.dtype):
            raise NotImplementedError(
                f"no bounds of {name} by the algorithm {getattr(algorithm, 'name', algorithm)}{self.where}, whose rounding they "
                "do not know: leave out its precision"
            )
        if repeats_operands(equation):
            return self.interpret(with_whole_operands(equation), with_whole_operands(twin), inputs)
        if name not in self.rules:
            inner = called_jaxpr(name, equation.params)
            if inner is not None:
                known = of_library(self, equation, inner, inputs)
                if known is not None:
                    return known
                return self.interpret(inner, called_jaxpr(name, twin.params), inputs)
            if name in CONTROL:
                return CONTROL[name](self, equation, twin, inputs)
            if is_complex(equation, inputs):
                return by_parts(self, equation, twin, inputs)
            if is_of_whole_numbers(equation, inputs):
                return self._of_whole_numbers(equation, twin, inputs)
            advice = is_numeric(equation, inputs)
            raise NotImplementedError(
                f"no bounds of {name}{self.where}" + (f": bounds.register({name!r}, ...) can add a rule" if advice else "")
            )
        if is_of_whole_numbers(equation, inputs):
            return self._of_whole_numbers(equation, twin, inputs)
        if is_complex(equation, inputs):
            if name == "fft":
                return self.rules[name](self, equation.primitive, inputs, equation.params, [])
            return by_parts(self, equation, twin, inputs)
        key = self._key(equation, inputs)
        if key is None or key not in self.known:
            rule = self.rules[name]
            is_checked = not getattr(rule, "is_rewritten", False)
            finds_wholes = self.finds_wholes and not getattr(rule, "is_registered", False)
            axes = self.batch_axes(equation, twin, inputs) if is_checked else []
            with self.shapes(inputs, [variable.aval for variable in twin.invars]):
                outputs = whole(self, equation.primitive, inputs, equation.params, axes) if finds_wholes else None
                outputs = outputs or rule(self, equation.primitive, inputs, equation.params, axes)
            self.origins.remember(equation, inputs, outputs)
            if key is None:
                return outputs
            self.known[key] = outputs
        return self.known[key]

    def _of_whole_numbers(self, equation, twin, inputs):
        key = self._key(equation, inputs)
        if key is None or key not in self.known:
            with self.shapes(inputs, [variable.aval for variable in twin.invars]):
                outputs = of_whole_numbers(self, equation, twin, inputs)
            if key is None:
                return outputs
            self.known[key] = outputs
        return self.known[key]

    @contextlib.contextmanager
    def shapes(self, operands, others):
        """Lets `inline` know the operands' shapes at the other batch size in the block, as those of `others`."""
        before = self.other_shapes
        self.other_shapes = {id(operand): other.shape for operand, other in zip(operands, others, strict=True)}
        try:
            yield
        finally:
            self.other_shapes = before

    def bare(self) -> "Tracer":
        """A new tracer with the same rules, which bounds one operation at a time."""
        return Tracer(self.batch, self.rules, finds_wholes=False)

    def value(self, primitive, inputs, params) -> jax.Array:
        """The value of an operation at the point of the trace."""
        return evaluated(primitive, [i.value if isinstance(i, Node | Predicate) else i for i in inputs], params)[0]

    def batch_axes(self, equation, twin, inputs) -> list[int]:
        """The batch axis of each output. Raises: NotSeparableError if the operation mixes examples."""
        name, axes = equation.primitive.name, []
        nodes = [i.difference if isinstance(i, Predicate) else i for i in inputs]
        operands = [(i, n.value.shape, n.batch_axis) for i, n in enumerate(nodes) if isinstance(n, Node)]
        indices = inputs[1] if name == "gather" and is_known(inputs[1]) else None
        if name == "conv_general_dilated" and len(operands) == 2:  # under vmap, one whose groups are the examples
            raise NotImplementedError(f"no bounds of {name} with two bounded operands{self.where}")
        for out, other in zip(equation.outvars, twin.outvars, strict=True):
            axes.append(self.batch_axis(name, out.aval.shape, other.aval.shape))
            if not keeps_examples_apart(name, equation.params, operands, out.aval.shape, axes[-1], indices):
                raise NotSeparableError(f"f is not batch-separable: {name}{self.where} moves entries from one example to another")
        return axes

    def batch_axis(self, name: str, shape, other) -> int:
        """The axis as long as the batch, from the shapes at both sizes. Raises: NotSeparableError unless there is one."""
        axes = [i for i, (n, m) in enumerate(zip(shape, other, strict=True)) if n != m]
        if len(axes) == 1 and (shape[axes[0]], other[axes[0]]) == (self.batch, self.other_batch):
            return axes[0]
        what = "loses" if not axes else "mixes"
        raise NotSeparableError(
            f"f is not batch-separable, or merges the batch with another axis: {name}{self.where} {what} the batch axis, "
            f"{list(shape)} at batch size {self.batch}. Bounds are of each example by itself"
        )

    def _key(self, equation, inputs):
        def of(value):
            if isinstance(value, Node):
                return value.index
            if isinstance(value, Predicate | Whole):
                self.kept.append(value)
                return id(value)
            if number(value) is not None:
                exact = np.asarray(number(value))  # by its bytes: 0.0 and -0.0 are equal, but not alike
                return (exact.tobytes(), str(np.asarray(value).dtype), np.shape(value))
            self.kept.append(value)
            return ("array", id(value))

        key = (equation.primitive.name, tuple(map(of, inputs)), tuple(sorted(equation.params.items())))
        try:
            hash(key)
        except TypeError:
            return None
        return key


def _operations(jaxpr) -> list[tuple[str, list[int]]]:
    """The operations of a jaxpr: each one's name, and the number of axes of its outputs."""
    return [(e.primitive.name, [len(v.aval.shape) for v in e.outvars]) for e in jaxpr.eqns]


def is_numeric(equation, inputs) -> bool:
    """Whether a rule that users register could bound an equation: it takes and returns floating-point numbers."""
    floating = all(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in equation.outvars)
    nodes = [i for i in inputs if isinstance(i, Node | Predicate)]
    return floating and all(isinstance(n, Node) for n in nodes)


def is_of_other_precision(algorithm, dtype) -> bool:
    """Whether a product's `precision` is an algorithm by name, and not the one of its own type."""
    own = {"float32": lax.DotAlgorithmPreset.F32_F32_F32, "float64": lax.DotAlgorithmPreset.F64_F64_F64}.get(str(dtype))
    known = (lax.DotAlgorithmPreset.DEFAULT, own)
    return isinstance(algorithm, lax.DotAlgorithm | lax.DotAlgorithmPreset) and algorithm not in known


def is_narrow(dtype) -> bool:
    """Whether a type is a floating-point one of less than 32 bits."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 32
