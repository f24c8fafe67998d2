"""Options of the supernet of a search: its space and its size."""

import dataclasses
from typing import ClassVar

from dsrna_jax.genotypes.search_spaces import SPACES
from dsrna_jax.runtime.image_options import STARTS, STARTS_SAY
from dsrna_jax.runtime.options import option


@dataclasses.dataclass(frozen=True)
class NetworkOptions:
    """The supernet of PC-DARTS, as small as digits need it."""

    section: ClassVar[str] = "supernet"

    space: str = option("pcdarts", "search space", SPACES)
    cells: int = option(3, "cells of the supernet", "[3, 200]")
    channels: int = option(16, "channels of the first cell", "[1, 4096]")
    start: str = option("cifar", STARTS_SAY, STARTS, before="cifar")
    nodes: int = option(4, "nodes inside a cell", "[1, 16]", formerly="steps")
