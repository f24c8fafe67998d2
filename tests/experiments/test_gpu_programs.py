"""Programs that run on a GPU lower to what XLA's GPU compiler takes; seen without a GPU."""

import re

import pytest

from dsrna_jax.runtime import sharding
from experiments.gpu.programs import PROGRAMS, SIZES, SMALL, lowered

_SLICE = re.compile(r"stablehlo\.slice %\S+ \[([^\]]*)\]")

LONG = ("alpha_step_certified", "sub_network_step")


def loose(program):
    """Strided slices whose range does not end with their last element."""
    ranges = [r for found in _SLICE.findall(program) for r in found.split(", ") if r.count(":") == 2]
    return [r for r in ranges for start, limit, stride in [map(int, r.split(":"))] if (limit - start - 1) % stride]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else []) for n in SMALL])
def test_a_program_lowers_for_cuda_and_its_strided_slices_end_with_their_last_element(name):
    """XLA's GPU compiler aborts on other slices in front of a product, with JAX 0.10 and 0.11 (openxla/xla#47381)."""
    text = lowered(PROGRAMS[name], SIZES["tiny"], sharding.mesh(1)).as_text()
    assert "stablehlo.dot_general" in text
    assert not loose(text)


def test_a_strided_slice_beyond_its_last_element_is_seen():
    assert loose("%1 = stablehlo.slice %0 [0:4, 0:16:2, 1:16:2] : (tensor<4x16x16xf32>) -> tensor<4x8x8xf32>") == ["0:16:2"]
