"""The resources whose expected use a search can penalise: what each part of its supernet costs."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from dsrna_jax.errors import InputError
from dsrna_jax.networks.multiplications import of_part
from dsrna_jax.networks.network import Network
from dsrna_jax.networks.parts import is_free, parts
from dsrna_jax.networks.plan import Part
from dsrna_jax.search import latency
from dsrna_jax.search.config import SearchConfig


class Resource(NamedTuple):
    """A resource with the costs of all parts of a supernet.

    metric: its name in the records of an epoch.
    digest: fingerprint of costs that were measured; None of those that are counted.
    """

    metric: str
    costs: Mapping[Part, float]
    digest: str | None = None


def resource_of(config: SearchConfig, supernet: Network, image_shape: tuple[int, int, int]) -> Resource | None:
    """The resource that a search penalises; None if none.

    Raises: InputError if a table of latencies is absent, damaged, of another machine, or lacks a part of the supernet.
    """
    if not config.resource_weight:
        return None
    fixed, branches = parts(supernet, image_shape)
    return RESOURCES[config.resource](config, list(dict.fromkeys([*fixed, *(part for row in branches for part in row)])))


def multiply_adds(config: SearchConfig, needed: Sequence[Part]) -> Resource:
    """Multiply-adds for one image."""
    return Resource("multiply_adds", {part: of_part(part) for part in needed})


def milliseconds(config: SearchConfig, needed: Sequence[Part]) -> Resource:
    """Milliseconds for a batch, by the table of the configuration. Raises: InputError if it has none for it, or for a part."""
    table = latency.load(config.latency_table)
    known = table.milliseconds
    if table.batch_size != config.batch_size:
        raise InputError(
            f"{config.latency_table} has the times of batches of {table.batch_size} images, and batch_size={config.batch_size}: "
            f"{latency.MAKE} for the same flags"
        )
    if lacking := [part for part in needed if part not in known and not is_free(part)]:
        name, entering, leaving, height, width, stride = lacking[0]
        raise InputError(
            f"{config.latency_table} lacks {len(lacking)} of the parts of this supernet, such as {name} from {entering} to "
            f"{leaving} channels on {width}x{height} pixels with stride {stride}: {latency.MAKE} for the same flags"
        )
    costs = {part: known.get(part, 0.0) for part in needed}
    return Resource("latency_ms", costs, hashlib.sha256(repr(costs).encode()).hexdigest()[:16])


RESOURCES: dict[str, Callable[[SearchConfig, Sequence[Part]], Resource]] = {
    "multiply_adds": multiply_adds,
    "latency": milliseconds,
}
