"""The experiment in a folder: its stages one after the other, and the small results that each leaves."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dsrna_jax import genotypes
from dsrna_jax.genotypes import zoo
from dsrna_jax.reproduction.graph import RunGraph, RunNode, done
from dsrna_jax.sweeps.worker import state_of
from experiments.studies.question import rows as files
from experiments.studies.question import stages
from experiments.studies.question.matching import matched
from experiments.studies.question.protocol import RANDOM, RANK, Protocol
from experiments.studies.question.rows import Rows
from experiments.studies.question.statistics import chosen_gamma

_RANK_DRAWS = 10_000  # the first draw of the rank study, none of which is one of the control


class Experiment:
    """A protocol, its folder, and what is known there.

    common: flags of all runs, such as data_dir.
    """

    def __init__(self, protocol: Protocol, out: Path, common: Mapping[str, Any]):
        self.protocol, self.out, self.common, self.rows = protocol, out, common, Rows(out)

    @property
    def cells(self) -> set[str]:
        """Names of the cells that are known."""
        return files.cells(self.out)

    @property
    def matches(self) -> dict[str, dict[str, Any]]:
        """Random cells by name, each with the searched cell that it is matched to."""
        return files.matches(self.out)

    def stages(self) -> Iterator[RunGraph]:
        """The runs that are missing, stage by stage: each is made when the one before has been run and collected."""
        yield stages.gamma_stage(self.protocol, self.out, self.common, self.rows.by_name)
        yield stages.cell_stage(self.protocol, self.gammas(), self.common, self.cells)
        self.draw()
        known = {*self.rows.by_name, *self.twins()}
        yield stages.network_stage(self.protocol, self.out, self.common, known, self.unscored())
        self.collect()

    def twins(self) -> dict[str, str]:
        """Networks by name whose cell is that of a network before them, trained alike: that network, whose results are theirs."""
        first: dict[tuple, str] = {}
        found = {}
        for name, (training, method, cell, seed) in stages.network_names(self.protocol).items():
            file = self.out / "cells" / f"{method}-{cell}.json"
            if method != RANK and file.exists():
                one = first.setdefault((training, seed, file.read_bytes()), name)
                if one != name:
                    found[name] = one
        return found

    def unscored(self) -> list[str]:
        """Networks of the rank study with a row, whose R is not measured and whose weights are not in the folder."""
        names = [row["name"] for row in self.rows.of("network") if row["method"] == RANK]
        return [name for name in names if not (self._is_scored(name) or self._has_weights(name))]

    def gammas(self) -> dict[str, float]:
        """The gamma of each search with R, by the rule."""
        found: dict[str, dict[float, list[float]]] = {kind: {} for kind in self.protocol.kinds}
        for row in self.rows.of("gamma"):
            if row["kind"] in found:
                found[row["kind"]].setdefault(row["gamma"], []).append(row["held_out"])
        return {kind: chosen_gamma(of) for kind, of in found.items()}

    def collect(self) -> None:
        """Keeps the cells and the rows of all runs that are done."""
        whole = stages.whole(self.protocol, self.out, self.common)
        is_done = {name for name, node in whole.nodes.items() if done(node, self.out, state_of(self.out, name).state)}
        for name in is_done & {
            f"search/{of}-{seed}" for of in self.protocol.methods for seed in range(self.protocol.search_seeds)
        }:
            cell = name.removeprefix("search/")
            if cell not in self.cells:
                files.keep_cell(self.out, cell, genotypes.load(self.out / "search" / cell / "genotype.json"))
        for kind in self.protocol.kinds:
            for gamma in (0.0, *self.protocol.gammas):
                for seed in range(self.protocol.gamma_seeds):
                    name = stages.gamma_name(kind, gamma, seed)
                    if f"{name}/train" in is_done and name not in self.rows.by_name:
                        self.rows.add(
                            "gamma", name, kind=kind, gamma=gamma, seed=seed, held_out=_held_out(self.out / name / "train")
                        )
        networks = stages.network_names(self.protocol)
        for name, (training, method, cell, seed) in networks.items():
            if {name, f"{name}/attack", f"{name}/certify_linf"} <= is_done and name not in self.rows.by_name:
                result = _network(self.out / name)
                self.rows.add("network", name, training=training, method=method, cell=cell, seed=seed, **result)
        for name, one in self.twins().items():
            if one in self.rows.by_name:
                _, method, cell, _ = networks[name]
                self.rows.add(**self.rows.by_name[one] | {"name": name, "method": method, "cell": cell})

    def draw(self) -> None:
        """Draws the random cells that are missing: those of as many weights as the searched ones, and those of the rank study."""
        own, nodes = self.protocol, self.protocol.nodes
        if RANDOM in own.methods and not self.matches:
            drawn = {seed: self._weights(zoo.random(seed, nodes)) for seed in range(own.draws)}
            searched = [f"{kind}-{seed}" for kind in own.kinds for seed in range(own.search_seeds)]
            targets = {name: self._weights(files.cell(self.out, name)) for name in searched}
            found = {f"{RANDOM}-{i}": match._asdict() for i, match in enumerate(matched(drawn, targets, own.random_cells))}
            for name, match in found.items():
                files.keep_cell(self.out, name, zoo.random(match["draw"], nodes))
            files.keep_matches(self.out, found)
        for index in range(own.rank_cells):
            if f"{RANK}-{index}" not in self.cells:
                files.keep_cell(self.out, f"{RANK}-{index}", zoo.random(_RANK_DRAWS + index, nodes))

    def rank(self) -> None:
        """Measures R of the cells of the rank study that have no row of it yet."""
        from dsrna_jax.commands.reproduce import resolved
        from experiments.studies.question import rank

        first = {name: node for name, node in stages.cell_stage(self.protocol, self.gammas(), self.common, ()).nodes.items()}
        searches = {stages.title(kind): resolved(first[f"search/{kind}-0"]) for kind in self.protocol.kinds}
        networks = [row for row in self.rows.of("network") if row["method"] == RANK and not self._is_scored(row["name"])]
        missing = [row for row in networks if self._has_weights(row["name"])]
        if not missing or not searches:
            return
        trained = rank.supernet(next(iter(searches.values())), self.protocol.rank_steps)
        for row in missing:
            found = rank.scores(self.out / row["name"], searches, trained, self.protocol.rank_images)
            self.rows.add("rank", f"{row['name']}/scores", scores={**found, "attacked": row["attacked"], "radius": row["radius"]})

    def _is_scored(self, name: str) -> bool:
        return f"{name}/scores" in self.rows.by_name

    def _has_weights(self, name: str) -> bool:
        return (self.out / name / "checkpoints").exists()

    def _weights(self, cell: Any) -> int:
        """The number of weights of a cell in the network that is trained."""
        from dsrna_jax.commands.reproduce import resolved
        from dsrna_jax.networks.network import weight_count
        from dsrna_jax.training.setup import trained_network

        kind, shape = self.protocol.trainings[0], self.protocol.shape
        flags = {**self.protocol.section.flags[kind], **self.common}
        config = resolved(RunNode("weights", "train", kind, self.protocol.section, stages.method(RANDOM), 0, flags))
        return weight_count(trained_network(config, cell, 10, (0.0,) * shape[2], (1.0,) * shape[2]), shape)


def _held_out(folder: Path) -> float:
    """The accuracy under attack on held-out images, after the last epoch of a training."""
    from dsrna_jax.runtime.records import rows

    return rows(folder / "metrics.jsonl")[-1]["val_robust_accuracy"]


def _network(folder: Path) -> dict[str, Any]:
    """The results of a network as they stand in its row; accuracies in [0, 1], the radius in pixel units."""
    from dsrna_jax.comparison.runs import read
    from dsrna_jax.reproduction.results import value

    run = read(folder)
    clean, attacked, radius = (
        value(run, "clean"),
        value(run, "series") or value(run, "attack worst case"),
        value(run, "radius linf minimum"),
    )
    return {
        "weights": run.weights,
        "clean": clean and clean.value / 100,
        "attacked": attacked and attacked.value / 100,
        "attack": attacked.how if attacked else "none",
        "radius": radius and radius.value,
        "bound": radius.how if radius else "none",
    }
