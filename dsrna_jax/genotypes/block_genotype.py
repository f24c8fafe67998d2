"""The block genotype: the operation of every block of a network, as plain data (ProxylessNAS, arXiv:1812.00332)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsrna_jax.errors import InputError, shown
from dsrna_jax.genotypes.genotype import reduction_positions
from dsrna_jax.genotypes.operations import BLOCK_OPERATIONS


@dataclass(frozen=True)
class BlockGenotype:
    """The operation of every block, in their order: an inverted bottleneck, or `skip_connect` for one that is left out.

    A block that keeps side and channels of its input adds it to its output; no other can be left out. Lists become tuples.

    Raises: InputError if the genotype describes no network.
    """

    blocks: tuple[str, ...]

    groups = ("blocks",)
    nodes = 1

    def __post_init__(self):
        if not isinstance(self.blocks, Sequence) or isinstance(self.blocks, str) or len(self.blocks) < 3:
            raise InputError(f"expected the operations of 3 or more blocks as a list; got {shown(self.blocks)}")
        for index, name in enumerate(self.blocks):
            if not isinstance(name, str) or name not in BLOCK_OPERATIONS:
                raise InputError(
                    f"unknown operation {shown(name)} of block {index}: expected one of {', '.join(BLOCK_OPERATIONS)}"
                )
            if name == "skip_connect" and not has_shortcut(index, len(self.blocks)):
                raise InputError(f"block {index} of {len(self.blocks)} changes side or channels: it cannot be a skip_connect")
        object.__setattr__(self, "blocks", tuple(self.blocks))

    def genes(self, group: str = "blocks") -> tuple[tuple[str, int, int], ...]:
        """(operation, number of its input, number of its output) of every block; 0 is what the stem puts out."""
        return tuple((name, index, index + 1) for index, name in enumerate(self.blocks))

    def check_depth(self, cells: int) -> None:
        """Raises: InputError unless a network of `cells` blocks can be built."""
        if len(self.blocks) != cells:
            raise InputError(f"this genotype has {len(self.blocks)} blocks: expected cells={len(self.blocks)}")

    def __str__(self) -> str:
        """One line, e.g. `blocks: mbconv_3x3_e6 skip_connect ...`."""
        return f"blocks: {' '.join(self.blocks)}"


def has_shortcut(index: int, blocks: int) -> bool:
    """Whether block `index` keeps side and channels of its input; the first one widens what the stem puts out."""
    return index > 0 and index not in reduction_positions(blocks)


def derive_blocks(alphas: Any, primitives: Sequence[str], kept: Any = None) -> BlockGenotype:
    """The block genotype of the largest alphas among those kept; ties go to the lower index.

    Args:
      alphas: logits "blocks" [block, len(primitives)]. NumPy or JAX arrays.
      primitives: names of the columns of alphas.
      kept: truth values alike, of the operations that a block can have; by default those that fit its shape.
    Raises: InputError if nothing is kept of a block; FloatingPointError if alphas are not finite.
    """
    logits = np.asarray(alphas["blocks"], np.float64)
    fits = possible(len(logits), primitives) if kept is None else np.asarray(kept["blocks"], bool)
    if not fits.any(axis=1).all():
        raise InputError(f"block {fits.any(axis=1).argmin()} has no operation to choose: expected one or more")
    if not np.isfinite(np.where(fits, logits, 0)).all():
        raise FloatingPointError("the alphas of the blocks are not finite: no genotype can be derived from them")
    return BlockGenotype(tuple(str(primitives[column]) for column in np.where(fits, logits, -np.inf).argmax(axis=1).tolist()))


def possible(blocks: int, primitives: Sequence[str]) -> Any:
    """Truth values [block, primitive], False for a skip connection where a block changes side or channels."""
    is_skip = np.array([name == "skip_connect" for name in primitives])
    return ~is_skip[None] | np.array([has_shortcut(index, blocks) for index in range(blocks)])[:, None]
