"""Options of computation, which searches and trainings share."""

import dataclasses

from dsrna_jax.runtime.options import option

PRECISIONS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class ComputeOptions:
    """The type of a network's maps, and the memory that they take."""

    precision: str = option(
        "float32", "type of the maps in the network; weights, losses and bounds stay float32", PRECISIONS, before="float32"
    )
    remat: bool = option(False, "compute the maps of each cell again in backward passes, to save memory", before=False)


def maps_type(precision: str) -> str | None:
    """The `dtype` of a network of that precision: None, for that of the images, if it is float32."""
    return None if precision == "float32" else precision
