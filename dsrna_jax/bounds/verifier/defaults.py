"""The methods by which `verify` bounds, and how many sub-problems at a time, if nothing is given."""

import jax

from dsrna_jax.bounds.alpha_crown import is_adjustable
from dsrna_jax.bounds.explanation import cost
from dsrna_jax.bounds.graph import Graph
from dsrna_jax.bounds.options import Options
from dsrna_jax.bounds.relaxations.hinge import Hinge

# Sub-problems of hinges at a time. A CPU's cache holds the arrays of so many, so that each takes no longer than among more.
ON_CPU, ON_ACCELERATORS = 32, 64
FEW_INPUTS = 20  # up to as many, sub-problems are boxes
# Programs of methods that go back from every layer grow with the square of the operations; alpha-CROWN has a pass of derivatives
# for each of CROWN's. Others than hinges count twice.
FEW_OPERATIONS, MANY_OPERATIONS = 12, 20
# Entries of all passes.
LITTLE_WORK, MUCH_WORK = 2e9, 2e10


def subproblems_at_once() -> int:
    """The sub-problems of hinges that are bounded at a time."""
    return ON_CPU if jax.default_backend() == "cpu" else ON_ACCELERATORS


def of_boxes(graph: Graph, varying_inputs: int) -> str:
    """The method for sub-boxes: where many inputs vary, so that cuts gain little, the tightest if it takes little time."""
    is_affordable = _affords(graph, "alpha_crown", FEW_OPERATIONS, LITTLE_WORK)
    return "alpha_crown" if varying_inputs > FEW_INPUTS and is_affordable else "crown"


def of_hinges(graph: Graph) -> str:
    """The method for the intermediate bounds that all splits of hinges start from."""
    if _affords(graph, "alpha_crown", FEW_OPERATIONS, LITTLE_WORK):
        return "alpha_crown"
    return "crown" if _affords(graph, "crown", MANY_OPERATIONS, MUCH_WORK) else "hz_crown"


def _affords(graph: Graph, method: str, most_operations: int, most_work: float) -> bool:
    """Whether a method compiles soon, by the operations whose planes may be chosen, and takes little time, by its passes."""
    if sum(1 if isinstance(node.operation, Hinge) else 2 for node in graph.nodes if is_adjustable(node)) > most_operations:
        return False
    return cost(graph, Options(method=method)).passes * sum(node.size for node in graph.nodes) <= most_work
