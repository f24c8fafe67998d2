"""Latency of each part of a supernet, by itself and as in a derived network: the table of a search that penalises it."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks.fan import Fan
from dsrna_jax.networks.inverted import Inverted
from dsrna_jax.networks.layers import FactorizedReduce, Preprocess
from dsrna_jax.networks.maps import Kind
from dsrna_jax.networks.parts import is_free, parts
from dsrna_jax.networks.plan import Part
from dsrna_jax.networks.stem import STEMS
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.machine import hardware
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.latency import LatencyTable
from dsrna_jax.search.setup import search_setup
from experiments.benchmarks.timing import median_ms

CALLS = 20  # in a row, whose mean is one measurement


def latency_rows(config: SearchConfig, path: str, repeats: int) -> Iterator[dict[str, Any]]:
    """A row for each part of the supernet of a search, on its data set, but for identities; at the end it writes their table.

    A time is the median of `repeats` measurements for a batch, in milliseconds.
    """
    setup, milliseconds = search_setup(config), {}
    fixed, branches = parts(setup.network, setup.dataset.image_shape)
    for part in dict.fromkeys([*fixed, *(part for row in branches for part in row)]):
        if not is_free(part):
            milliseconds[part] = part_ms(part, config.batch_size, repeats)
            yield part._asdict() | {"milliseconds": milliseconds[part]}
    LatencyTable(hardware(), config.batch_size, milliseconds).save(path)


def part_ms(part: Part, batch_size: int, repeats: int) -> float:
    """Median milliseconds of a part for a batch, compiled by itself with running statistics."""
    shape = (part.entering, batch_size, part.height, part.width)
    if part.name.startswith("stem"):
        shape = (batch_size, part.height, part.width, part.entering)
    x = jax.random.uniform(jax.random.key(0), shape)
    initial, apply = program(part)
    variables = jax.jit(initial)(jax.random.key(1, impl="rbg"), x)
    lowered = jax.jit(apply).lower(variables, x)
    compiled = lowered.compile(compiler_options=sharding.compiler_options(sharding.mesh(1)))

    def calls():
        return [compiled(variables, x) for _ in range(CALLS)][-1]

    return round(median_ms(calls, repeats, digits=6) / CALLS, 6)


def program(part: Part) -> tuple[Callable, Callable]:
    """The functions (key, x) -> variables and (variables, x) -> output of a part."""
    leaving, stride = part.leaving, part.stride
    if part.name == "head":
        shape = (leaving, part.entering)
        return (
            lambda key, x: jax.random.normal(key, shape),
            lambda kernel, x: jnp.einsum("cb,kc->bk", x.mean((-2, -1)), kernel),
        )
    if part.name.startswith("stem"):
        start = part.name.removeprefix("stem_")
        widths = {channels: STEMS[start].widths(channels)[1] for channels in (leaving, leaving // 3)}
        module = STEMS[start](next(channels for channels, width in widths.items() if width == leaving))
    elif part.name == "preprocess":
        module = Preprocess(leaving, True)
    elif part.name == "factorized_reduce":
        module = FactorizedReduce(leaving, True)
    elif OPERATIONS[part.name].family == "inverted":
        module = Inverted((part.name,), leaving, stride, True)
    else:
        fan = Fan((Kind(part.name, 2),), stride, affine=True, is_supernet=False)
        return lambda key, x: fan.init(key, x[None], None, "running"), lambda own, x: fan.apply(own, x[None], None, "running")
    return lambda key, x: module.init(key, x, "running"), lambda own, x: module.apply(own, x, "running")
