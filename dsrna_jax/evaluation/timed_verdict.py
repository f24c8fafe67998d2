"""Verdicts of the verifier that had time to be found: it counts compilation as its own, and no timeout cuts that short."""

from collections.abc import Callable
from typing import Any

from dsrna_jax import bounds
from dsrna_jax.bounds.verifier.verdict import OVER
from dsrna_jax.runtime.working_time import compiling_time

PROGRAMS = 3  # at most, that are compiled one after the other: of the attack, the root and the sub-problems
LEAST = 0.5  # share of the timeout that compilation leaves a verdict; what lasts beyond the timeout does not count


def timed_verdict(
    f: Callable, region: bounds.Box, specification: bounds.Specification, *, timeout: float, **options: Any
) -> bounds.Verdict:
    """The verdict of `bounds.verify` within the timeout, or a later one where compilation left it less than half of that."""
    for _ in range(PROGRAMS + 1):
        before = compiling_time()
        verdict = bounds.verify(f, region, specification, timeout=timeout, **options)
        left = timeout - (compiling_time() - before)
        if not (verdict.status == "unknown" and verdict.reason.startswith(OVER) and left < LEAST * timeout):
            break
    return verdict
