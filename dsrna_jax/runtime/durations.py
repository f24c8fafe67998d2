"""Durations in words."""


def in_words(seconds: float) -> str:
    """A duration with the unit that suits it: "40 s", "12 min", "3.5 h", "20 days", "3 years"."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (2 * 86400, 3600, "h"), (800 * 86400, 86400, "days")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}" if seconds / unit >= 10 or unit == 1 else f"{seconds / unit:.1f} {name}"
    return f"{seconds / 86400 / 365:.0f} years"
