"""Genotypes as the text that DARTS's code prints and its followers keep: `Genotype(normal=[('sep_conv_3x3', 0), ...], ...)`."""

import ast
from typing import Any

from dsrna_jax.errors import InputError, shown
from dsrna_jax.genotypes.genotype import Genotype

OPENING = "Genotype("
_FIELDS = {"normal": "normal", "normal_concat": "normal_concat", "reduce": "reduction", "reduce_concat": "reduction_concat"}
_DEEPEST = 16


def to_darts(genotype: Any) -> str:
    """The text of a genotype, in one line. Raises: InputError for a dense genotype or a RobNet, which it cannot describe."""
    if not isinstance(genotype, Genotype):
        kind = type(genotype).__name__
        raise InputError(f"a {kind} has no text in DARTS's form, which has two edges a node: keep its genotype.json")
    values = {name: list(getattr(genotype, field)) for name, field in _FIELDS.items()}
    return f"{OPENING}{', '.join(f'{name}={value!r}' for name, value in values.items())})"


def from_darts(text: str) -> Genotype:
    """The genotype in a text that holds one `Genotype(...)`, with or without a name before it; nothing is executed.

    Ranges and lists of nodes are read, and the fields in their order if they have no names.
    Raises: InputError, in one line, if there is none, or several, or if it describes no network.
    """
    if text.count("(") > 100_000 or _depth(text) > _DEEPEST:
        raise InputError(f"expected a text {OPENING}...), got brackets that are too many or too deep")
    try:
        tree = ast.parse(text.strip(), mode="exec")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"expected a text {OPENING}normal=[...], ...), got {shown(text)}: {error}") from None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node) == OPENING[:-1]]
    if len(calls) != 1:
        raise InputError(f"expected one {OPENING}...) in the text, got {len(calls)}")
    (call,) = calls
    given = dict(zip(_FIELDS, call.args, strict=False)) | {keyword.arg: keyword.value for keyword in call.keywords}
    if set(given) != set(_FIELDS) or len(call.args) + len(call.keywords) != len(_FIELDS):
        raise InputError(
            f"expected {OPENING}...) with the fields {', '.join(_FIELDS)}, got {', '.join(map(str, given)) or 'none'}"
        )
    return Genotype(**{_FIELDS[str(name)]: _value(node) for name, node in given.items()})


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _value(node: ast.expr) -> Any:
    """A literal, or a range of literals, in its brackets or in list(...). Raises: InputError for anything else."""
    if isinstance(node, ast.Call) and _name(node) in ("range", "list") and not node.keywords:
        parts = [_value(argument) for argument in node.args]
        if _name(node) == "list" and len(parts) == 1:
            return parts[0]
        if 1 <= len(parts) <= 2 and all(type(part) is int and 0 <= part <= 1000 for part in parts):
            return list(range(*parts))
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise InputError(f"expected lists, numbers and ranges in {OPENING}...), got {shown(ast.unparse(node))}") from None
