"""Exceptions that a user can cause and mend, and the one for a certificate that an attack has refuted."""

from typing import Any


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what was expected, what was got and how to mend it.

    Commands print the message as one line and exit with a non-zero status; library callers may catch it as a `ValueError`.
    """


class AbsentDataError(InputError):
    """A data set that is known but not prepared where it was looked for."""


class TooMuchDataError(InputError):
    """A data set that is larger than what is loaded into memory."""


class RefutedError(ArithmeticError):
    """An attack has found what a certificate excludes. Commands print it as a line that begins with FAIL, and exit with 2."""


def shown(value: Any) -> str:
    """`repr(value)` for an error message, cut to 80 characters."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep; an integer of too many digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else text[:77] + "..."
