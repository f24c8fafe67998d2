"""The operations that made the nodes of a graph, and the functions of one node that several of them make up."""

from typing import Any

from dsrna_jax.bounds.graph import Node, Predicate
from dsrna_jax.bounds.structure import Made
from dsrna_jax.bounds.univariate import ELEMENTWISE, Univariate, is_of_numbers, itself, joined
from dsrna_jax.kernels.equations import evaluated


class Origins:
    """The ways in which nodes and predicates were made.

    made: the operations that made each, in all ways.
    univariate: values as functions of one node by operations with numbers, as far back as these go.
    """

    def __init__(self):
        self.made: dict[Node | Predicate, list[Made]] = {}
        self.univariate: dict[Node | Predicate, Univariate] = {}

    def univariate_of(self, operand) -> Univariate | None:
        """An operand as a function of one node, if need be of itself; None for constants."""
        if isinstance(operand, Node):
            return self.univariate.get(operand, itself(operand))
        return self.univariate.get(operand) if isinstance(operand, Predicate) else None

    def roots_of(self, operands) -> list[Node]:
        """Nodes that operands may be functions of: the operands themselves, then for each the one that is farthest back."""
        nodes = [o for o in operands if isinstance(o, Node)]
        return list(dict.fromkeys(nodes + [self.univariate.get(node, itself(node)).root for node in nodes]))

    def as_functions_of(self, root: Node, operands) -> list[Univariate | None] | None:
        """Operands as functions of one node, None for constants; None in whole if one is no such function.

        Constants may be arrays that broadcast to the node, such as a slope for each channel.
        """
        known: dict[Any, Univariate | None] = {root: itself(root)}

        def function_of(value) -> Univariate | None:
            if value not in known:
                farthest = self.univariate.get(value)
                known[value] = farthest if farthest is not None and farthest.root is root else made(value)
            return known[value]

        def made(value) -> Univariate | None:
            if isinstance(value, Node) and value.index < root.index:
                return None
            for way in self.made.get(value, ()):
                if way.name in ELEMENTWISE and (parts := parts_of(way.operands)) is not None:
                    return _joined(way, parts)
            return None

        def parts_of(operands) -> list[Univariate | None] | None:
            parts = []
            for operand in operands:
                is_constant = not isinstance(operand, Node | Predicate)
                parts.append(None if is_constant else function_of(operand))
                if not is_constant and parts[-1] is None:
                    return None
            return parts

        return parts_of(operands)

    def remember(self, equation, inputs, outputs) -> None:
        """Keeps the operation that made an output, if that is its only one."""
        (output, *others) = outputs
        if others or not isinstance(output, Node | Predicate) or any(output is i for i in inputs):
            return
        self.made.setdefault(output, []).append(Made(equation.primitive.name, equation.params, inputs, equation.primitive))
        if output in self.univariate:
            return
        parts = [self.univariate_of(i) for i in inputs]
        result = _joined(self.made[output][-1], parts) if is_of_numbers(inputs, parts) else None
        if result is not None and result.root is not output:
            self.univariate[output] = result


def _joined(made: Made, parts: list[Univariate | None]) -> Univariate | None:
    """The result of an operation as a function of the one node that its operands, `parts`, are functions of."""
    if any(part is None and isinstance(i, Predicate) for i, part in zip(made.operands, parts, strict=True)):
        return None
    return joined(made.name, lambda *v: evaluated(made.primitive, v, made.params)[0], list(made.operands), parts)
