"""Exceptions that a user can cause and mend, and the one for a certificate that an attack has refuted."""

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Input of the user that cannot be used; the message states the expectation, the input and the remedy.

    Commands print the message as one line and exit with a non-zero status; library callers may catch it as a `ValueError`.
    """


class NotSeparableError(InputError):
    """A function to bound that seems to mix the examples of a batch."""


def close_to(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question after the nearest of the `known` names, such as " (did you mean train?)"; empty if none is near."""
    close = difflib.get_close_matches(name, list(dict.fromkeys(known)), n=3, cutoff=cutoff)
    return f" (did you mean {' or '.join(close)}?)" if close else ""


class AbsentDataError(InputError):
    """A known data set that is not prepared in the given folder."""


class TooMuchDataError(InputError):
    """A data set that exceeds the limit of memory."""


class RefutedError(ArithmeticError):
    """An attack has fooled a network within its certified radius. Commands print it in a line with FAIL, and exit with 2."""


def shown(value: Any) -> str:
    """`repr(value)` for an error message, cut to 80 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; an integer of too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
