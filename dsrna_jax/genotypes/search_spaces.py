"""The search spaces, as plain data: what is chosen, from which operations, and how a supernet weighs its edges."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.operations import BLOCK_OPERATIONS, PRIMITIVES

if TYPE_CHECKING:
    from dsrna_jax.genotypes.kept_operations import Kept


@dataclass(frozen=True)
class SearchSpace:
    """A search space of cells, a normal and a reduction cell, whose edges choose operations.

    A space names the groups of its choices. Alphas are a dict of logits [row, primitive] by group; a row is an edge of a cell.

    Attributes:
      partial: K. One channel in K takes the operations of an edge; the others bypass them (PC-DARTS, arXiv:1907.05737,
        section 3.1).
      has_edge_logits: whether alphas weigh the edges into a node too (PC-DARTS, section 3.2).
      primitives: names of the operations, in the order of the columns of alphas.
    """

    partial: int = 1
    has_edge_logits: bool = False
    primitives: tuple[str, ...] = PRIMITIVES

    refused: ClassVar[tuple[str, ...]] = ()  # options of a search that such a space does not have

    def groups(self, nodes: int, cells: int) -> dict[str, int]:
        """The number of rows of each group of choices, in a supernet of `cells` cells of `nodes` nodes."""
        from dsrna_jax.genotypes.genotype import CELL_TYPES, edge_count  # which need NumPy, as --help does not

        return dict.fromkeys(CELL_TYPES, edge_count(nodes))

    def kept(self, nodes: int, cells: int) -> "Kept | None":
        """Truth values [row, primitive] by group, of the operations that fit a row; None if all do."""
        return None


@dataclass(frozen=True)
class BlockSpace(SearchSpace):
    """A search space of blocks, which choose operations each for itself: the rows are the cells of the supernet."""

    primitives: tuple[str, ...] = BLOCK_OPERATIONS

    refused: ClassVar[tuple[str, ...]] = ("operations", "most_skips", "stages", "keep", "metric_network")

    def groups(self, nodes: int, cells: int) -> dict[str, int]:
        return {"blocks": cells}

    def kept(self, nodes: int, cells: int) -> "Kept":
        from dsrna_jax.genotypes.block_genotype import possible

        return {"blocks": possible(cells, self.primitives)}


SPACES: dict[str, SearchSpace] = {
    "darts": SearchSpace(),
    "s5": SearchSpace(primitives=tuple(name for name in PRIMITIVES if name != "none")),  # SmoothDARTS: DARTS without none
    "robnet": SearchSpace(primitives=("none", "skip_connect", "sep_conv_3x3")),
    "pcdarts": SearchSpace(partial=4, has_edge_logits=True),
    "pcdarts_k2": SearchSpace(partial=2, has_edge_logits=True),  # as on ImageNet
    "proxyless": BlockSpace(),
}


def search_space(name: str) -> SearchSpace:
    """The search space of that name. Raises: InputError, with the names, if there is none."""
    if name not in SPACES:
        raise InputError(f"unknown search space {name!r}: expected one of {', '.join(SPACES)}")
    return SPACES[name]


def groups_of(names: Iterable[str]) -> tuple[str, ...]:
    """The groups among the names of alphas, sorted: all but the weights of edges."""
    return tuple(sorted(name for name in names if not name.endswith("_edges")))


def check_channels(space: str, channels: int) -> None:
    """Raises: InputError if the channels of a supernet cannot be divided as its space needs."""
    if channels % (2 * search_space(space).partial):
        raise InputError(f"channels must be a multiple of {2 * search_space(space).partial} in the space {space}, got {channels}")


def check_space(config: Any, defaults: Any) -> None:
    """Raises: InputError if the channels of a search configuration do not fit its space, or an option that it lacks is set."""
    check_channels(config.space, config.channels)
    for name in search_space(config.space).refused:
        if getattr(config, name) != defaults[name]:
            raise InputError(
                f"{name}={getattr(config, name)!r} is of cells, which space={config.space} lacks: expected {defaults[name]!r}"
            )
