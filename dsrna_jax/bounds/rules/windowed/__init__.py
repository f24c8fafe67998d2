"""The windowed forms of affine operations, with which backward passes follow windows of an image instead of whole ones.

`WINDOWED` has them by the name of the primitive, `PARTS` those of primitives with several results: functions of the operands and,
by keyword, the primitive's parameters, whose result is None where functionals are to hold all entries.
"""

from collections.abc import Callable

from dsrna_jax.bounds.rules.windowed import moves, pools, products

WINDOWED: dict[str, Callable] = {
    "mul": products.product,
    "div": products.quotient,
    "convert_element_type": products.converted,
    "select_n": products.chosen,
    "reduce_sum": products.summed,
    "reduce_window_sum": pools.pooled,
    "pad": moves.padded,
    "slice": moves.sliced,
    "transpose": moves.permuted,
    "rev": moves.flipped,
    "broadcast_in_dim": moves.repeated,
    "reshape": lambda operands, *, new_sizes, **_: moves.reshaped(operands, shape=new_sizes),
    "squeeze": moves.squeezed,
    "concatenate": moves.joined,
    "stack": moves.stacked,
}
PARTS: dict[str, Callable] = {"split": moves.part, "unstack": moves.unstacked}  # of operations with several results
