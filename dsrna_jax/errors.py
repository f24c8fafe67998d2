"""The one exception that a user can cause and mend."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what was expected, what was got and how to mend it.

    Commands print the message as one line and exit with a non-zero status; library callers may catch it as a `ValueError`.
    """
