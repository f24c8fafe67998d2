"""The runs of the question, in the stages in which they follow from each other's results.

Searches with R and a training of each cell, by gamma; the searches of all methods; trainings of all cells, with attacks and
certificates. What a file of results holds already needs no run: a run is left out if its row or its cell is there.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from dsrna_jax.reproduction.graph import RunGraph, RunNode
from experiments.studies.question.protocol import METHODS, RANDOM, RANK, Protocol, method, search_flags

Flags = Mapping[str, Any]


def gamma_name(kind: str, gamma: float, seed: int) -> str:
    """The name of the runs of a search with R at one gamma."""
    return f"gamma/{kind}-{gamma:g}-{seed}"


def gamma_stage(protocol: Protocol, out: Path, common: Flags, known: Collection[str]) -> RunGraph:
    """Searches at every gamma, 0 among them, and an adversarial training of each cell; those without a row."""
    nodes: dict[str, RunNode] = {}
    for kind in protocol.kinds:
        for gamma in (0.0, *protocol.gammas):
            for seed in range(protocol.gamma_seeds):
                name = gamma_name(kind, gamma, seed)
                if name in known:
                    continue
                flags = {**search_flags(kind, protocol.section.family), "gamma": gamma} | ({} if gamma else {"metric": "none"})
                # Seeds from 100 on: neither searches nor trainings of the experiment itself have them.
                search = _search(protocol, f"{name}/search", kind, 100 + seed, flags, common)
                nodes[search.name] = search
                training = _training(protocol, "adversarial", f"{name}/train", kind, 100 + seed, str(out / search.name), common)
                nodes[training.name] = training._replace(needs=(search.name,))
    return RunGraph(nodes, ())


def cell_stage(protocol: Protocol, gammas: Mapping[str, float], common: Flags, known: Collection[str]) -> RunGraph:
    """The searches of all methods whose cells are not there; `gammas` by search with R."""
    nodes = {}
    for name in protocol.methods:
        for seed in range(protocol.search_seeds if name != RANDOM else 0):
            if f"{name}-{seed}" not in known:
                flags = search_flags(name, protocol.section.family)
                flags |= {"gamma": gammas[name]} if name in gammas else {}
                node = _search(protocol, f"search/{name}-{seed}", name, seed, flags, common)
                nodes[node.name] = node
    return RunGraph(nodes, ())


def network_names(protocol: Protocol) -> dict[str, tuple[str, str, int, int]]:
    """Trainings in their order by name: kind of training, method, number of the cell and of the training, both from 0."""
    counts = {name: protocol.random_cells if name == RANDOM else protocol.search_seeds for name in protocol.methods}
    ranked = {f"rank/{RANK}-{cell}-0": ("standard", RANK, cell, 0) for cell in range(protocol.rank_cells)}
    compared = {
        f"{kind}/{name}-{cell}-{number}": (kind, name, cell, number)
        for number in range(protocol.training_seeds)
        for kind in protocol.trainings
        for name in protocol.methods
        for cell in range(counts[name])
    }
    return compared | ranked


def network_stage(protocol: Protocol, out: Path, common: Flags, known: Collection[str], again: Collection[str] = ()) -> RunGraph:
    """Trainings of all cells with an attack and a certificate each, those without a row; and the trainings to run `again`."""
    nodes: dict[str, RunNode] = {}
    for name, (kind, of, cell, number) in network_names(protocol).items():
        if name in known and name not in again:
            continue
        genotype = str(out / "cells" / f"{of}-{cell}.json")
        nodes[name] = _training(protocol, kind, name, of, number, genotype, common)
        if name in known:
            continue
        for command, folder, more in (("attack", "attack", {}), ("certify", "certify_linf", {"norm": "linf"})):
            flags = {**protocol.section.flags[command], **more, **common, "checkpoint": str(out / name)}
            own = f"{name}/{folder}"
            nodes[own] = RunNode(own, command, command, protocol.section, method(of), number, flags, (name,))
    return RunGraph(nodes, ())


def whole(protocol: Protocol, out: Path, common: Flags) -> RunGraph:
    """All runs of all stages, to see what they cost."""
    first = dict.fromkeys(protocol.kinds, protocol.gammas[0])
    parts = (
        gamma_stage(protocol, out, common, ()),
        cell_stage(protocol, first, common, ()),
        network_stage(protocol, out, common, ()),
    )
    return RunGraph({name: node for part in parts for name, node in part.nodes.items()}, ())


def left(graph: RunGraph, protocol: Protocol, rows: Collection[str], cells: Collection[str]) -> list[str]:
    """The runs of a graph whose rows or cells are not there."""
    known = {f"search/{name}" for name in cells} | {f"{name}{end}" for name in rows for end in _PARTS}
    return [name for name in graph.nodes if name not in known]


_PARTS = ("", "/attack", "/certify_linf", "/search", "/train")  # the runs behind a row


def _search(protocol: Protocol, name: str, of: str, seed: int, flags: Flags, common: Flags) -> RunNode:
    every = {**flags, **protocol.section.flags["search"], **common, "seed": seed}
    return RunNode(name, "search", "search", protocol.section, method(of), seed, every)


def _training(protocol: Protocol, kind: str, name: str, of: str, seed: int, genotype: str, common: Flags) -> RunNode:
    flags = {**protocol.section.flags[kind], **common, "genotype": genotype, "seed": seed}
    return RunNode(name, "train", kind, protocol.section, method(of), seed, flags)


def title(name: str) -> str:
    """The name of a method on the page."""
    return METHODS[name][0]
