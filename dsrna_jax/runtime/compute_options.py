"""Options of computation, which searches and trainings share."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import option

PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class ComputeOptions:
    """The type of a network's maps, and the memory that they take."""

    section: ClassVar[str] = "computation"

    precision: str = option(
        "float32", "type of the maps in the network; weights, losses and bounds stay float32", PRECISIONS, before="float32"
    )
    remat: bool = option(False, "compute the maps of each cell again in backward passes, to save memory", before=False)
    microbatch: int = option(
        0,
        "images of a batch that are computed at once, with batch statistics of their own; 0 for all",
        "[0, 1e6]",
        before=0,
    )


def part_count(config: Any) -> int:
    """Number of parts of a batch. Raises: InputError unless `microbatch` divides `batch_size`."""
    size, batch = config.microbatch or config.batch_size, config.batch_size
    if batch % size:
        near = [n for n in range(1, batch + 1) if batch % n == 0]
        advice = " or ".join(map(str, sorted(sorted(near, key=lambda n: abs(n - size))[:2])))
        raise InputError(f"microbatch={size}: expected a divisor of batch_size={batch}, such as {advice}, or 0")
    return batch // size


def maps_type(precision: str) -> str | None:
    """The `dtype` of a network of that precision: None, for that of the images, if it is float32."""
    return None if precision == "float32" else precision
