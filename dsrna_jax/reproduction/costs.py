"""Estimates of costs: seconds of each run, by those that have ended here, else by the steps that a scale states."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrna_jax.errors import InputError
from dsrna_jax.reproduction.graph import RunGraph, RunNode, done
from dsrna_jax.runtime import records
from dsrna_jax.sweeps.worker import JobState, state_of

Resolve = Callable[[RunNode], Any]
"""Maps a run to its configuration."""


def passes(node: RunNode, config: Any) -> float:
    """The images of a run: training images times epochs, or images that are attacked or certified."""
    train, test = node.section.images
    if node.command in ("search", "train"):
        return float(train * max(config.epochs, 1))
    return float(min(config.examples or test, test))


def planned_seconds(node: RunNode, config: Any) -> float:
    """Seconds on two cores, by the figures of the scale."""
    section = node.section
    start, image = section.cost[node.kind]
    if node.kind == "search":
        start, image = section.cost_of.get(node.method.name, (start, image))
    return start + image * passes(node, config)


class Costs:
    """Seconds of the runs of a graph, and how far each is.

    Runs of one kind and method that have ended here are measurements for those that have not; then those of one kind.
    """

    def __init__(self, graph: RunGraph, out: Path, resolve: Resolve):
        self.graph, self.out = graph, out
        self.configs = {name: resolve(node) for name, node in graph.nodes.items()}
        self.planned = {name: planned_seconds(node, self.configs[name]) for name, node in graph.nodes.items()}
        self.states: dict[str, JobState] = {}
        self.refresh()

    def refresh(self) -> None:
        """Reads the states of all jobs again."""
        self.states = {name: state_of(self.out, name) for name in self.graph.nodes}
        ratios: dict[tuple, list[float]] = {}
        for name, node in self.graph.nodes.items():
            if self.is_done(name) and (seconds := self._measured(name)) is not None:
                for key in _keys(node):
                    ratios.setdefault(key, []).append(seconds / self.planned[name])
        self._ratios: Mapping[tuple, float] = {key: sum(values) / len(values) for key, values in ratios.items()}

    def is_done(self, name: str) -> bool:
        """Whether a run has ended well."""
        return done(self.graph.nodes[name], self.out, self.states[name].state)

    def seconds(self, name: str) -> float:
        """Seconds of a whole run: as measured if it is done, else the estimate."""
        if self.is_done(name) and (measured := self._measured(name)) is not None:
            return measured
        node = self.graph.nodes[name]
        ratio = next((self._ratios[key] for key in _keys(node) if key in self._ratios), 1.0)
        return self.planned[name] * ratio

    def is_measured(self, name: str) -> bool:
        """Whether the estimate rests on runs that have ended here."""
        return any(key in self._ratios for key in _keys(self.graph.nodes[name]))

    def left(self, names: Collection[str]) -> float:
        """Seconds until runs have ended, if they run one after the other.

        Runs that are under way count by the share that is done, once that is a fifth; one that takes longer than estimated counts
        at least a tenth of the time that it has taken so far.
        """
        self.refresh()
        total = 0.0
        for name in names:
            elapsed, share = self.elapsed(name), self.share(name)
            seconds = elapsed / share if share >= 0.2 else self.seconds(name)
            total += max(seconds - elapsed, elapsed / 10)
        return total

    def elapsed(self, name: str) -> float:
        """Seconds since a run that is under way was started; 0 for others."""
        state = self.states[name]
        return time.time() - state.began if state.state == "running" and state.began else 0.0

    def share(self, name: str) -> float:
        """The share of a search or a training that is done, by its epochs; 0 for other runs."""
        epochs = getattr(self.configs[name], "epochs", 0)
        file = self.out / name / "metrics.jsonl"
        try:
            last = records.rows(file)[-1:] if epochs and file.is_file() else []
        except (OSError, InputError):  # a row that is being written
            return 0.0
        return min(last[0].get("epoch", 0) / epochs, 1.0) if last else 0.0

    def _measured(self, name: str) -> float | None:
        state = self.states[name]
        if state.began is None or state.ended is None or state.attempts != 1:
            return None
        return state.ended - state.began


def _keys(node: RunNode) -> Sequence[tuple]:
    """The groups in which runs cost alike, the nearest first."""
    return (node.section.name, node.kind, node.method.name), (node.section.name, node.kind)
