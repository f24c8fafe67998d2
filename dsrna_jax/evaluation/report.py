"""Entries of the reports of all evaluations."""

import platform
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool

from dsrna_jax.confidence import wilson
from dsrna_jax.runtime.machine import machine
from dsrna_jax.runtime.origin import origin


def accuracy_entry(correct: Bool[np.ndarray, " examples"]) -> dict[str, float]:
    """Share of examples, and the ends of its 95 % confidence interval: "accuracy", "low", "high"."""
    low, high = wilson(int(correct.sum()), len(correct))
    return {"accuracy": float(correct.mean()), "low": low, "high": high}


def origins(mesh: Mesh) -> dict[str, Any]:
    """Entries that say with what the numbers were computed, by the process that ended the evaluation."""
    return {"versions": versions(), "origin": origin(), "machine": machine(mesh)}


def versions() -> dict[str, str]:
    """Versions of the software that computes the numbers."""
    return {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}
