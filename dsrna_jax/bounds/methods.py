"""The methods, one record each. `bounds.METHODS` lists their names."""

import dataclasses

from dsrna_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Method:
    """The parts of a method.

    refined_by: "backward" passes or "zonotopes" narrow the intervals of intermediate values; with None, interval arithmetic
      alone.
    goes_back: whether linear bounds of the output are propagated back to the input.
    slopes: of hinges in backward passes, as in `relaxations`.
    tries_boxes: whether the output is also bounded by planes from plain intervals, which for some entries are better.
    optimises: whether planes that may be chosen (`relaxations`) are optimised for every output.
    """

    refined_by: str | None = None
    goes_back: bool = True
    slopes: str = "adaptive"
    tries_boxes: bool = False
    optimises: bool = False


RECORDS = {
    "ibp": Method(goes_back=False),
    "crown_ibp": Method(),
    "fastlin": Method("backward", slopes="parallel"),
    "crown": Method("backward", tries_boxes=True),
    "alpha_crown": Method("backward", tries_boxes=True, optimises=True),
    "hz_crown": Method("zonotopes", tries_boxes=True),
}


def method_named(name: str) -> Method:
    """The record of a method. Raises: InputError for an unknown name."""
    if name not in RECORDS:
        raise InputError(f"unknown method {name!r}: expected one of {', '.join(RECORDS)}")
    return RECORDS[name]
