"""Options of the mixtures of a search: how alphas become the weights of the operations of an edge, and what is derived."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import option

MIXTURES = ("softmax", "gumbel", "hard_gumbel", "binary")
RESOURCES = ("multiply_adds", "latency")


@dataclasses.dataclass(frozen=True)
class MixtureOptions:
    """The mixtures of DARTS (the defaults), SNAS, GDAS and ASAP."""

    section: ClassVar[str] = "mixtures"

    mixture: str = option(
        "softmax",
        "weights of operations: the softmax, with Gumbel noise (SNAS), or one drawn (hard_gumbel: GDAS, binary: ProxylessNAS)",
        MIXTURES,
        before="softmax",
        of="strategy=gradient",
    )
    temperature_start: float = option(
        1.0, "temperature of that softmax in the first epoch", "[1e-6, 1e6]", before=1.0, of="strategy=gradient"
    )
    temperature_end: float = option(1.0, "temperature in the last epoch", "[1e-6, 1e6]", before=1.0, of="strategy=gradient")
    temperature_schedule: str = option(
        "linear", "way of the temperature between these", ("linear", "exponential"), before="linear", of="strategy=gradient"
    )
    prune_below: float = option(
        0.0,
        "part of an equal share at which an operation is pruned from its edge (ASAP); 0 for never",
        "[0, 1)",
        before=0.0,
        of="strategy=gradient",
    )
    levels: int = option(
        2,
        "1 to move alphas and weights at once, by one batch (SNAS); 2 for images of their own",
        "[1, 2]",
        before=2,
        of="strategy=gradient",
    )
    resource_weight: float = option(
        0.0,
        "weight of the logarithm of the expected resource in the objective of the alphas",
        "[0, 1e6]",
        before=0.0,
        of="strategy=gradient",
    )
    resource: str = option(
        "multiply_adds",
        "that resource: multiply-adds, or latency by a table measured here",
        RESOURCES,
        before="multiply_adds",
        of="strategy=gradient",
    )
    latency_table: str = option(
        "",
        "file of that table, by python -m experiments.benchmark --what=latency",
        before="",
        in_programs="none",
        of="strategy=gradient",
    )
    keep: str = option(
        "two", "edges of the derived cell: the two strongest into each node, or all, with one operation each", ("two", "all"),
        before="two",
        in_programs="none", of="strategy=gradient",
    )  # fmt: skip
    operations: str = option(
        "", "columns of the operations that edges have, as 0134,1236;0347,1357 (of the normal; reduction cell); empty for all",
        before="", of="strategy=gradient",
    )  # fmt: skip
    most_skips: int = option(
        64,
        "skip connections of the derived normal cell; of more, the weakest are chosen anew (P-DARTS)",
        "[0, 64]",
        before=64,
        in_programs="none",
        of="strategy=gradient",
    )
    skip_dropout: float = option(
        0.0, "share of the pixels that identities of the supernet lose at first, falling with the epochs (P-DARTS)", "[0, 1)",
        before=0.0, of="strategy=gradient",
    )  # fmt: skip


def check_mixture(config: Any) -> None:
    """Raises: InputError if options of the mixtures of a search configuration do not go together."""
    if config.operations:
        _ = config.kept  # whose text may be wrong
    if config.most_skips < 64 and config.keep != "two":
        raise InputError(f"most_skips={config.most_skips} chooses two edges into each node: expected keep=two")
    if config.levels == 1 and config.order != "first":
        raise InputError(f"levels=1 has no hypergradient of order={config.order!r}: expected order=first")
    if config.levels == 1 and config.perturbation != "none":
        raise InputError(f"perturbation={config.perturbation!r} changes the weight step alone: expected levels=2")
    if config.resource == "latency":
        weight = "" if config.resource_weight else "a resource_weight, such as 0.1"
        table = "" if config.latency_table else "the latency_table that has the times"
        if missing := " and ".join(filter(None, (weight, table))):
            raise InputError(f"resource=latency needs {missing}")
    if config.latency_table and config.resource != "latency":
        raise InputError(f"latency_table={config.latency_table!r} is of resource=latency; got resource={config.resource}")
    if config.mixture == "softmax" and config.keep == "all" and "none" not in config.primitives:
        raise InputError(f"keep=all needs an operation `none` on an edge; space={config.space} has none")
