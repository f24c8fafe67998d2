"""Gradients of R by the alphas beside those of the validation loss, and what R asks of each operation: why it helps or not.

    python -m experiments.studies.gradients --preset=digits_dsrna_cb --steps=100    after steps of the weights alone; 0 for none
    python -m experiments.studies.gradients --run_dir=runs/digits_dsrna_cb          at the newest checkpoint of a search

For R as it is, in the units of `--metric_unit` and at the derived cells (`--metric_network`): its mean; the length of the
gradient of gamma * R relative to that of the loss; their agreement, the cosine of dR/dalpha and -dloss/dalpha. Then, by
operation, the mean over the edges of a cell of what raises R and what lowers the loss, each divided by the length of its whole
gradient: an operation with a positive number gains. Minutes on two cores, nearly all of it compilation.
"""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dsrna_jax.commands.config_files import read_config
from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import enable_compilation_cache, execute
from dsrna_jax.errors import InputError
from dsrna_jax.measures import MEASURES
from dsrna_jax.search.config import SearchConfig
from experiments.studies.question.rank import batch_of, supernet

VARIANTS: Mapping[str, dict[str, str]] = {
    "R": {},
    "R / margin": {"metric_unit": "margin"},
    "R / std": {"metric_unit": "std"},
    "R at the derived cells": {"metric_network": "derived"},
}


class Gradients(NamedTuple):
    """Means over batches: R, and the gradients by the alphas of the validation loss and of R."""

    r: float
    by_loss: dict[str, np.ndarray]
    by_r: dict[str, np.ndarray]


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError if they are wrong."""
    values = no_flags()
    define(values, "preset", "digits_dsrna_cb", "search whose supernet is made anew", [*PRESETS])
    define(values, "run_dir", "", "folder of a search, in place of a preset")
    define(values, "steps", 0, "steps of the weights of a preset", "[0, 1e6]")
    define(values, "batches", 4, "batches of the alphas' half over which gradients are averaged", "[1, 1e6]")
    define(values, "seed", 0, "seed of the draws of R", "[0, 4294967295]")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    config = read_config(values.run_dir, SearchConfig) if values.run_dir else PRESETS[values.preset]
    if MEASURES[config.metric].is_zero or config.strategy != "gradient" or config.is_series:
        raise InputError("a search with R by gradients is needed: expected one such as --preset=digits_dsrna_jacobian")
    enable_compilation_cache()
    setup, state = restored(config, Path(values.run_dir)) if values.run_dir else supernet(config, values.steps)
    print(
        tables(config, {name: gradients(setup, state, of, values.batches, values.seed) for name, of in variants(config).items()})
    )


def variants(config: SearchConfig) -> dict[str, SearchConfig]:
    """The configurations of `VARIANTS`, by name, as far as they fit a search."""
    found, plain = {}, dataclasses.replace(config, metric_unit="one", metric_network="supernet")
    for name, options in VARIANTS.items():
        with contextlib.suppress(InputError):
            found[name] = dataclasses.replace(plain, **options)
    return found


def restored(config: SearchConfig, folder: Path) -> tuple[Any, Any]:
    """The setup of a search and its state at the newest checkpoint. Raises: InputError if there is none."""
    import jax

    from dsrna_jax.search.folder import SearchFolder
    from dsrna_jax.search.setup import search_setup

    setup = search_setup(config)
    abstract = jax.eval_shape(setup.functions.init, jax.random.key(0))
    found = SearchFolder(folder, is_written=False).checkpoints.latest(abstract)
    if found is None:
        raise InputError(f"run_dir={folder}: no checkpoint has been saved there yet")
    return setup, found.state


def gradients(setup: Any, state: Any, config: SearchConfig, batches: int, seed: int = 0) -> Gradients:
    """The gradients of a search of that configuration in a state, on first batches of the alphas' half, to first order."""
    import jax

    from dsrna_jax.losses import cross_entropy
    from dsrna_jax.measures.measure import configured
    from dsrna_jax.runtime import sharding

    plain = dataclasses.replace(config, gamma=1.0, gamma_schedule="constant")
    functions = dataclasses.replace(setup.functions, config=plain, measure=configured(plain), resource=None)

    def of_batch(state, batch, key):
        def loss_and_r(alphas):
            shares = functions.shares(state, alphas, None)
            logits, moments = functions.forward(state.weights, state.batch_stats, alphas, batch.images, ["moments"], shares)
            minus_r, _, _ = functions.regularizers(state.weights, alphas, state, batch, key, shares, moments)
            return cross_entropy(logits, batch.labels).mean(), -minus_r

        (_, r), pullback = jax.vjp(loss_and_r, state.alphas)
        (by_loss,), (by_r,) = pullback((1.0, 0.0)), pullback((0.0, 1.0))
        return Gradients(r, by_loss, by_r)

    compiled = jax.jit(of_batch, compiler_options=sharding.compiler_options(sharding.mesh(1)))
    found = []
    for number in range(batches):
        key = jax.random.fold_in(jax.random.key(seed), number)
        found.append(compiled(state, batch_of(setup, "search_val", number), key))
    return Gradients(*jax.tree.map(lambda *each: np.mean(each, axis=0), *found))


def tables(config: SearchConfig, found: Mapping[str, Gradients]) -> str:
    """The tables that `main` prints, as Markdown, of the gradients by name."""
    lines = ["| | mean | length of γ · gradient / that of the loss | agreement with the loss |", "|---|---|---|---|"]
    for name, (r, by_loss, by_r) in found.items():
        loss, own = _flat(by_loss), _flat(by_r)
        lengths = np.linalg.norm(own), np.linalg.norm(loss)
        agreement = -(own @ loss) / np.prod(lengths)
        lines.append(f"| {name} | {r:.4g} | {config.gamma * lengths[0] / lengths[1]:.3g} | {agreement:+.2f} |")
    by_loss = next(iter(found.values())).by_loss
    columns = {"-loss": {k: -v for k, v in by_loss.items()}, **{name: each.by_r for name, each in found.items()}}
    for group in (name for name, rows in by_loss.items() if rows.ndim == 2):
        lines += ["", f"| {group} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        means = [rows[group].mean(0) / np.linalg.norm(_flat(rows)) for rows in columns.values()]
        lines += [
            f"| {name} | {' | '.join(f'{value:+.3f}' for value in row)} |"
            for name, row in zip(config.primitives, zip(*means, strict=True), strict=True)
        ]
    return "\n".join([f"γ = {config.gamma:g}, metric {config.metric}", "", *lines])


def _flat(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(rows[name]) for name in sorted(rows)])


if __name__ == "__main__":
    execute(main)
