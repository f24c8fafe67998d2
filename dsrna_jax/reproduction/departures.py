"""Networks of a scale, and its departures from the paper: every field in which a configuration differs from that at full size."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dsrna_jax.errors import shown
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.evaluation.attack.config import AttackConfig
from dsrna_jax.reproduction.graph import RunGraph, RunNode

_SAME = frozenset({"seed", "data_dir", "genotype", "loading", "workers", "remat", "eigenvalue_every", "precision"})
_KINDS = {"search": "search", "standard": "standard training", "adversarial": "adversarial training",
          "small": "training of networks that are certified", "attack": "attacks", "certify": "certificates"}  # fmt: skip


def departures(graph: RunGraph, full: RunGraph, resolve: Callable[[RunNode], Any], table: int) -> list[str]:
    """One line for each kind of run of a table, with the fields in which all differ, and those in which some methods' differ.

    Args:
      graph: the runs.
      full: those of the same cells at full size.
      resolve: a run -> its configuration.
    """
    changes: dict[str, dict[str, dict[str, str]]] = {}  # by kind, method and field
    sources: dict[str, bool] = {}  # by method, whether its cells are searched here alone
    for ours, theirs in _pairs(graph, full, table):
        if ours.command == "train":
            sources[ours.method.name] = bool(ours.needs) and not theirs.needs
        differing = changes.setdefault(_KINDS[theirs.kind], {}).setdefault(ours.method.name, {})
        differing |= _changed(resolve(theirs), resolve(ours))
    lines = []
    for name, source in sources.items():
        if source:
            lines.append(f"cells of {name}: found by a search, in place of the published ones")
    for kind, by_method in changes.items():
        common = [field for field, text in next(iter(by_method.values())).items()
                  if all(own.get(field) == text for own in by_method.values())]  # fmt: skip
        if common:
            first = next(iter(by_method.values()))
            lines.append(f"{kind}: {', '.join(f'{field} {first[field]}' for field in common)}")
        for method, own in by_method.items():
            if rest := [f"{field} {text}" for field, text in own.items() if field not in common]:
                lines.append(f"{kind} of {method}: {', '.join(rest)}")
    return lines


def _pairs(graph: RunGraph, full: RunGraph, table: int) -> Iterator[tuple[RunNode, RunNode]]:
    """Runs behind a table with those of the same cell at full size: trainings, their searches and their evaluations."""
    at_full_size = {(cell.method.name, cell.data, cell.column): cell.trainings for cell in full.cells if cell.table == table}
    for cell in graph.cells:
        theirs = at_full_size.get((cell.method.name, cell.data, cell.column))
        if cell.table != table or not theirs:
            continue
        pair = graph.nodes[cell.trainings[0]], full.nodes[theirs[0]]
        yield pair
        yield from zip(*[[g.nodes[n] for n in node.needs] for g, node in zip((graph, full), pair, strict=True)], strict=False)
        of = [{n.name.rsplit("/", 1)[1]: n for n in g.nodes.values() if node.name in n.needs} for g, node in
              zip((graph, full), pair, strict=True)]  # fmt: skip
        yield from ((of[0][name], of[1][name]) for name in of[0] if name in of[1])


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value) if isinstance(value, str) and value else shown(value)


def _changed(full: Any, ours: Any) -> Mapping[str, str]:
    """`full -> ours` of every field in which two configurations differ, but for those that choose neither method nor size."""
    names = [field.name for field in dataclasses.fields(ours) if field.name not in _SAME]
    pairs = {name: (_value(full, name), _value(ours, name)) for name in names}
    return {name: f"{_short(theirs)} -> {_short(own)}" for name, (theirs, own) in pairs.items() if theirs != own}


def _value(config: Any, name: str) -> Any:
    """A field, or the default that stands for it: an attack's radius of 0 is that of its norm."""
    return config.size if name == "radius" and isinstance(config, AttackConfig) else getattr(config, name)


def networks(graph: RunGraph, resolve: Callable[[RunNode], Any], table: int) -> list[str]:
    """One line for each kind of network whose figures a table has: its size and its training."""
    lines = []
    for cell in graph.cells:
        if cell.table == table:
            node = graph.nodes[cell.trainings[0]]
            config = resolve(node)
            by = f", by {config.adversarial} within {config.norm} {pixels(config.radius, config.norm)}"
            lines.append(
                f"{_KINDS[node.kind]} on {config.dataset}: {config.cells} cells, {config.channels} channels in the first, "
                f"{config.epochs} epochs{by if config.is_adversarial else ''}"
            )
    return list(dict.fromkeys(lines))
