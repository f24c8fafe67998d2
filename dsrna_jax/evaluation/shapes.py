"""The parts of attack.json, certify.json and verify.json on which readers may rely, as shapes of `strict_json.check`."""

from dsrna_jax.runtime.options import interval
from dsrna_jax.strict_json import Nullable, Optional

_NORM = frozenset({"linf", "l2"})
_SHARE, _RADIUS, _COUNT = interval("[0, 1]"), interval("[0, 1e4]"), (int, interval("[1, 1e9]"))
_COMMON = {
    "checkpoint": {"step": int, "digest": str},
    "examples": _COUNT,
    "clean": {"accuracy": _SHARE},
}

ATTACK = {
    "experiment": frozenset({"attack"}),
    "config": {"norm": _NORM, "split": str, "examples": Optional((int, interval("[0, 1e9]"))), "precision": Optional(str)},
    **_COMMON,
    "rows": [{"name": str, "norm": _NORM, "radius": _RADIUS, "accuracy": _SHARE, "budget": str}],
    "curve": {"examples": Optional(_COUNT), "points": [{"name": str, "radius": _RADIUS, "accuracy": _SHARE}]},
}

CERTIFY = {
    "experiment": frozenset({"certify"}),
    "config": {
        "clip": bool,
        "tries": Optional((int, interval("[1, 1000]"))),
        "timeout": Optional(interval("(0, 1e9]")),
        "split": str,
        "examples": Optional((int, interval("[0, 1e9]"))),
        "sigma": interval("[0, 1e3]"),
        "n0": _COUNT,
        "n": _COUNT,
        "alpha": interval("(0, 1)"),
    },
    **_COMMON,
    "norm": _NORM,
    "method": str,
    "radius": {"mean": Nullable(_RADIUS)},
}

VERIFY = {
    "experiment": frozenset({"verify"}),
    "config": {"radius": _RADIUS, "timeout": interval("(0, 1e6]"), "split": str},
    **_COMMON,
    "norm": frozenset({"linf"}),
    "verified": {"accuracy": _SHARE},
    "counts": {name: (int, interval("[0, 1e9]")) for name in ("verified", "counterexample", "unknown", "misclassified")},
}
