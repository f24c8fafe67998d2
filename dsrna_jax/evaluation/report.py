"""Entries of the reports of all evaluations."""

import platform

import jax
import numpy as np
from jaxtyping import Bool

from dsrna_jax.confidence import wilson


def accuracy_entry(correct: Bool[np.ndarray, " examples"]) -> dict[str, float]:
    """Share of examples, and the ends of its 95 % confidence interval: "accuracy", "low", "high"."""
    low, high = wilson(int(correct.sum()), len(correct))
    return {"accuracy": float(correct.mean()), "low": low, "high": high}


def versions() -> dict[str, str]:
    """Versions of the software that computes the numbers."""
    return {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}
