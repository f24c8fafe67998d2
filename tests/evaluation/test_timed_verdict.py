"""Verdicts within a timeout, part of which goes on compilation."""

import numpy as np
import pytest
from late_verdicts import out_of_time

from dsrna_jax import bounds
from dsrna_jax.evaluation.certify.exact_radii import verified_radii
from dsrna_jax.evaluation.timed_verdict import PROGRAMS, timed_verdict

IMAGES, LABELS = np.full((1, 2), 0.5, np.float32), np.zeros(1, int)


def difference(x):
    """Class 0 within 0.1 of the image, in l-infinity."""
    return x @ np.float32([[1, 0], [0, 1]]) + np.float32([[0.2, 0.0]])


def decided(f, region, specification, *, timeout, method):
    radius = np.max(region.upper - region.lower) / 2
    if radius < 0.1:
        return bounds.Verdict("verified", None, "", 0.1, 0)
    return bounds.Verdict("counterexample", np.array([[0.4, 0.6]]), "", 0.1, 0)


@pytest.mark.parametrize("compiling", [True, False])
def test_a_radius_whose_time_goes_on_compilation_is_no_ceiling(monkeypatch, compiling):
    """The first radius is 0.05, below the exact one; of the verifier that had its time it stays undecided."""
    asked = out_of_time(monkeypatch, seconds=3.1, compiling=3.0 * compiling, then=decided)
    radii = verified_radii(difference, IMAGES, LABELS, timeout=3.0)
    assert (radii.certified[0] > 0.098) == compiling and asked[:2] == [3.0, 3.0]
    assert compiling or radii.certified[0] < 0.05


@pytest.mark.parametrize(
    ("reason", "timeout", "tries"),
    [
        ("the time was over before 2 of 3 boxes were decided", 60.0, PROGRAMS + 1),
        ("the time was over", 11.0, PROGRAMS + 1),  # the other 10 seconds followed a compilation that outlasted the timeout
        ("the time was over", 100.0, 1),
        ("of rounding", 60.0, 1),
    ],
)
def test_a_verdict_is_repeated_where_time_was_short_and_not_for_ever(monkeypatch, reason, timeout, tries):
    calls = []

    def late(*args, timeout):
        calls.append(timeout)
        return bounds.Verdict("unknown", None, reason, 60.0, 0)

    monkeypatch.setattr(bounds, "verify", late)
    monkeypatch.setattr("dsrna_jax.evaluation.timed_verdict.compiling_time", lambda: 50.0 * len(calls))
    specification = bounds.Specification.of_label(LABELS, 2)
    assert timed_verdict(difference, bounds.Box(IMAGES, IMAGES), specification, timeout=timeout).reason == reason
    assert len(calls) == tries
