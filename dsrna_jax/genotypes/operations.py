"""The operations that an edge can carry: one record each, from which networks, costs and pictures are made."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    """An operation of an edge, as plain data.

    Attributes:
      name: as genotypes spell it.
      family: the code that builds it and counts its multiply-adds, a key of `networks.families.FAMILIES`.
      colour: in pictures, "#rrggbb".
      side, dilation: of its kernel or window, in pixels.
      repeats: number of depthwise-separable convolutions in a row, 1 or 2; the second has stride and dilation 1.
      expansion: of an inverted bottleneck, the channels of its depthwise convolution over those of its input.
      is_candidate: whether DARTS searches over it; the others occur in published genotypes only.
    """

    name: str
    family: str
    colour: str
    side: int = 1
    dilation: int = 1
    repeats: int = 1
    expansion: int = 1
    is_candidate: bool = True


# In DARTS's order: an index into a row of alphas means the same operation everywhere. Colours after Okabe and Ito and, for the
# rare ones, Tol: told apart by colour-blind readers too. Skips are black, so that a cell that collapses to skips goes dark.
OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation("none", "none", "#a0a0a0"),
        Operation("max_pool_3x3", "max_pool", "#e69f00", side=3),
        Operation("avg_pool_3x3", "average_pool", "#d55e00", side=3),
        Operation("skip_connect", "skip", "#1a1a1a"),
        Operation("sep_conv_3x3", "depthwise", "#0072b2", side=3, repeats=2),
        Operation("sep_conv_5x5", "depthwise", "#56b4e9", side=5, repeats=2),
        Operation("dil_conv_3x3", "depthwise", "#009e73", side=3, dilation=2),
        Operation("dil_conv_5x5", "depthwise", "#cc79a7", side=5, dilation=2),
        Operation("sep_conv_7x7", "depthwise", "#332288", side=7, repeats=2, is_candidate=False),
        Operation("conv_7x1_1x7", "crossed", "#882255", side=7, is_candidate=False),
        Operation("conv_3x1_1x3", "crossed", "#999933", side=3, is_candidate=False),
        Operation("noise", "noise", "#ddcc77", is_candidate=False),
        Operation("mbconv_3x3_e3", "inverted", "#88ccee", side=3, expansion=3, is_candidate=False),
        Operation("mbconv_3x3_e6", "inverted", "#4477aa", side=3, expansion=6, is_candidate=False),
        Operation("mbconv_5x5_e3", "inverted", "#44aa99", side=5, expansion=3, is_candidate=False),
        Operation("mbconv_5x5_e6", "inverted", "#117733", side=5, expansion=6, is_candidate=False),
        Operation("mbconv_7x7_e3", "inverted", "#ee8866", side=7, expansion=3, is_candidate=False),
        Operation("mbconv_7x7_e6", "inverted", "#aa4499", side=7, expansion=6, is_candidate=False),
    )
}

# The columns of alphas, unless a search space says otherwise.
PRIMITIVES = tuple(operation.name for operation in OPERATIONS.values() if operation.is_candidate)

# The columns of the alphas of blocks.
BLOCK_OPERATIONS = ("skip_connect", *(operation.name for operation in OPERATIONS.values() if operation.family == "inverted"))


def register(operation: Operation) -> None:
    """Adds an operation, under its name, to `OPERATIONS`.

    Raises: ValueError if there is another of that name.
    """
    if OPERATIONS.get(operation.name, operation) != operation:
        raise ValueError(f"there is another operation {operation.name!r}: {OPERATIONS[operation.name]}")
    OPERATIONS[operation.name] = operation
