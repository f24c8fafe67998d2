"""The search spaces, as plain data: which operations an edge chooses from, and how a supernet weighs its edges."""

from dataclasses import dataclass

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.operations import PRIMITIVES


@dataclass(frozen=True)
class SearchSpace:
    """A search space.

    Attributes:
      partial: K. One channel in K takes the operations of an edge; the others bypass them (PC-DARTS, arXiv:1907.05737,
        section 3.1).
      has_edge_logits: whether alphas weigh the edges into a node too (PC-DARTS, section 3.2).
      primitives: names of the operations, in the order of the columns of alphas.
    """

    partial: int = 1
    has_edge_logits: bool = False
    primitives: tuple[str, ...] = PRIMITIVES


SPACES: dict[str, SearchSpace] = {
    "darts": SearchSpace(),
    "s5": SearchSpace(primitives=tuple(name for name in PRIMITIVES if name != "none")),  # SmoothDARTS: DARTS without none
    "robnet": SearchSpace(primitives=("none", "skip_connect", "sep_conv_3x3")),
    "pcdarts": SearchSpace(partial=4, has_edge_logits=True),
    "pcdarts_k2": SearchSpace(partial=2, has_edge_logits=True),  # as on ImageNet
}


def search_space(name: str) -> SearchSpace:
    """The search space of that name. Raises: InputError, with the names, if there is none."""
    if name not in SPACES:
        raise InputError(f"unknown search space {name!r}: expected one of {', '.join(SPACES)}")
    return SPACES[name]
