"""The series of searches, as generators: each yields its members and is sent how they ended, and returns the genotype found.

Stages as in P-DARTS (Chen et al. 2019, arXiv:1904.12760): deeper supernets of fewer operations, weights and alphas anew.
Weight decays as in R-DARTS(L2) (Zela et al. 2020, arXiv:1909.09656, section 5.2): of the cells found, the one that does best
when it is trained. Adaptive as in DARTS-ADA (the same paper, section 5.3, and its published code): where the dominant eigenvalue
of a search rises, the next goes on from the epoch before that with a larger weight decay.
"""

import dataclasses
from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.genotypes.architecture import Architecture
from dsrna_jax.genotypes.derivation import derive
from dsrna_jax.genotypes.genotype import CELL_TYPES, edge_count
from dsrna_jax.genotypes.kept_operations import strongest, text_of
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks.families import family_of
from dsrna_jax.runtime.compute_options import ComputeOptions
from dsrna_jax.runtime.image_options import ImageOptions
from dsrna_jax.runtime.options import changed
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.options.series import stages_of, weight_decays_of
from dsrna_jax.training.config import TrainingConfig


class Member(NamedTuple):
    """A run of a series.

    name: of its folder in that of the series.
    heading: a line for the user.
    config: of a search, or of the training of `genotype`.
    start: where a search goes on with one before it; None from the beginning.
    """

    name: str
    heading: str
    config: SearchConfig | TrainingConfig
    genotype: Architecture | None = None
    start: "Start | None" = None


class Start(NamedTuple):
    """The end of an epoch of an earlier search of a series, by its name."""

    name: str
    epoch: int


class MemberOutcome(NamedTuple):
    """The end of a member: its genotype, the last alphas of a search, and the row of its best epoch (of a search, the last).

    rise: the epoch before a rise of the dominant eigenvalue by which a search has stopped; None if it has not.
    """

    genotype: Any
    alphas: Any
    row: dict[str, Any]
    rise: int | None = None


Members = Generator[Member, MemberOutcome, Any]


def staged(config: SearchConfig) -> Members:
    """The stages of P-DARTS, of which each edge takes the strongest operations to the next; the genotype of the last."""
    stages, kept = stages_of(config), None
    for number, stage in enumerate(stages, start=1):
        member = dataclasses.replace(
            config,
            stages="",
            cells=stage.cells,
            skip_dropout=stage.skip_dropout,
            operations="" if kept is None else text_of(kept),
        )
        heading = f"stage {number} of {len(stages)}: {stage.cells} cells, {stage.operations} operations an edge"
        outcome = yield Member(f"stage_{number}", heading, member)
        if number < len(stages):
            kept = strongest(outcome.alphas, stages[number].operations, kept)
    return outcome.genotype


def by_weight_decay(config: SearchConfig) -> Members:
    """A search for each weight decay, and a training of what it found; the genotype of the most accurate on search_val."""
    decays, ranked = weight_decays_of(config), []
    for number, decay in enumerate(decays, start=1):
        member = changed(config, weight_decays="", weight_decay=decay)
        heading = f"search {number} of {len(decays)}: weight decay {decay:g}"
        genotype = (yield Member(f"search_{number}", heading, member)).genotype
        heading = f"training of its cell on search_train: weight decay {decay:g}"
        training = Member(f"training_{number}", heading, retraining(config), genotype)
        row = (yield training).row
        ranked.append((row["val_accuracy"], -row["val_loss"], -number, genotype))
    return max(ranked, key=lambda item: item[:3])[3]


def adaptive(config: SearchConfig) -> Members:
    """Searches with ever larger weight decays, each from where the one before had its eigenvalue rise; the genotype of the last.

    The last ends without a rise, or with one at the largest weight decay, and then has the cells of the epoch before it.
    """
    number, decay, start = 1, config.weight_decay, None
    while True:
        heading = f"search {number}: weight decay {decay:g}"
        heading += f", from epoch {start.epoch} of the search before" if start else ""
        member = changed(config, adapt_factor=0.0, weight_decay=decay)
        outcome = yield Member(f"search_{number}", heading, member, start=start)
        if outcome.rise is None or decay >= config.adapt_most:
            return outcome.genotype
        start, decay = Start(f"search_{number}", outcome.rise), min(decay * config.adapt_factor, config.adapt_most)
        number += 1


def retraining(config: SearchConfig) -> TrainingConfig:
    """The training that judges a cell of a search: plain, with the search's images, augmentation and batches."""
    shared = [field.name for options in (ImageOptions, ComputeOptions) for field in dataclasses.fields(options)]
    shared += ["start", "batch_size", "batch_norm", "momentum", "clip", "seed"]
    return TrainingConfig(
        **{name: getattr(config, name) for name in shared},
        genotype="",
        cells=config.retrain_cells,
        channels=config.retrain_channels,
        epochs=config.retrain_epochs,
        lr=config.weight_lr,
        weight_decay=3e-4,
        auxiliary_weight=0.0,
        held_out=config.val_share,
    )


def members(config: SearchConfig) -> Members:
    """The series that a configuration describes."""
    if config.adapt_factor:
        return adaptive(config)
    return staged(config) if config.stages else by_weight_decay(config)


def foreseen(config: SearchConfig) -> list[Member]:
    """The members of a series before any has run; a search that is no series is its only member, without a heading.

    Where members depend on how earlier ones end, edges are taken to keep the operations with the most multiply-adds, and no
    eigenvalue to rise.
    """
    if not config.is_series:
        return [Member("search", "", config)]
    shape = config.channels, config.channels, (32, 32), (32, 32), 1
    costs = [family_of(name).multiply_adds(OPERATIONS[name], *shape) for name in config.primitives]
    rows = np.tile(np.array(costs, float), (edge_count(config.nodes), 1))
    alphas: dict[str, Any] = {cell: rows for cell in CELL_TYPES}
    outcome = MemberOutcome(derive(alphas, config.primitives), alphas, {"val_accuracy": 0.0, "val_loss": 0.0})
    series, every = members(config), []
    try:
        every.append(next(series))
        while True:
            every.append(series.send(outcome))
    except StopIteration:
        return every


def first(config: SearchConfig) -> SearchConfig:
    """The first search of a series; the configuration itself if it is no series."""
    member = foreseen(config)[0].config
    assert isinstance(member, SearchConfig)
    return member
