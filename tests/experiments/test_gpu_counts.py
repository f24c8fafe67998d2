"""Kernels, bytes and collectives of a compiled GPU program are counted as its text has them."""

import pytest

from experiments.gpu.counts import counts, size

PROGRAM = """
HloModule jit_f, is_scheduled=true

%fused_multiply (param_0: f32[4,8]) -> f32[8,4] {
  %param_0 = f32[4,8]{1,0} parameter(0)
  %multiply.9 = f32[4,8]{1,0} multiply(%param_0, %param_0)
  ROOT %transpose.9 = f32[8,4]{1,0} transpose(%multiply.9), dimensions={1,0}
}

%body (arg: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %arg = (s32[], /*index=1*/f32[8,4]{1,0}) parameter(0)
  %get-tuple-element.1 = s32[] get-tuple-element(%arg), index=0
  %get-tuple-element.2 = f32[8,4]{1,0} get-tuple-element(%arg), index=1
  %loop_add_fusion = s32[] fusion(%get-tuple-element.1), kind=kLoop, calls=%fused_multiply
  ROOT %tuple.1 = (s32[], f32[8,4]{1,0}) tuple(%loop_add_fusion, %get-tuple-element.2)
}

%condition (arg.1: (s32[], f32[8,4])) -> pred[] {
  %arg.1 = (s32[], f32[8,4]{1,0}) parameter(0)
  ROOT %constant.1 = pred[] constant(true)
}

ENTRY %main (x: f32[4,8]) -> f32[8,4] {
  %x = f32[4,8]{1,0} parameter(0)
  %constant.2 = s32[] constant(0)
  %input_transpose_fusion = f32[8,4]{1,0} fusion(%x), kind=kInput, calls=%fused_multiply
  %dot = (f32[8,4]{1,0}, s8[4096]{0}) custom-call(%input_transpose_fusion, %x), custom_call_target="__cublas$lt$matmul"
  %get-tuple-element.3 = f32[8,4]{1,0} get-tuple-element(%dot), index=0
  %all-reduce-start = f32[8,4]{1,0} all-reduce-start(%get-tuple-element.3), to_apply=%add
  %all-reduce-done = f32[8,4]{1,0} all-reduce-done(%all-reduce-start)
  %tuple.2 = (s32[], f32[8,4]{1,0}) tuple(%constant.2, %all-reduce-done)
  %while = (s32[], f32[8,4]{1,0}) while(%tuple.2), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %get-tuple-element.4 = f32[8,4]{1,0} get-tuple-element(%while), index=1
}
"""


def test_launches_are_counted_in_loops_and_not_in_fusions():
    seen = counts(PROGRAM)
    assert seen["kernels"] == 3 + 5
    assert seen["kinds"] == {"loop": 5, "transpose": 1, "__cublas$lt$matmul": 1, "all-reduce-start": 1}
    assert seen["transposes"] == 1


def test_bytes_are_those_of_operands_and_results_without_workspaces():
    whole = 4 * 8 * 4
    assert counts(PROGRAM)["bytes"] == 2 * whole + 3 * whole + whole + 5 * (4 + 4)


SLICED = """
%fused_slice (param_0: f32[4,8], param_1: f32[8]) -> f32[2,8] {
  %param_1 = f32[8]{0} parameter(1)
  %param_0 = f32[4,8]{1,0} parameter(0)
  %slice.1 = f32[1,8]{1,0} slice(%param_0), slice={[0:1], [0:8]}
  %slice.2 = f32[1,8]{1,0} slice(%param_0), slice={[3:4], [0:8]}
  %broadcast.1 = f32[1,8]{1,0} broadcast(%param_1), dimensions={1}
  %add.1 = f32[1,8]{1,0} add(%slice.1, %broadcast.1)
  ROOT %concatenate.1 = f32[2,8]{1,0} concatenate(%add.1, %slice.2), dimensions={0}
}

ENTRY %main (x: f32[4,8], y: f32[8]) -> f32[2,8] {
  %x = f32[4,8]{1,0} parameter(0)
  %y = f32[8]{0} parameter(1)
  ROOT %fusion.1 = f32[2,8]{1,0} fusion(%x, %y), kind=kLoop, calls=%fused_slice
}
"""


def test_of_an_operand_that_a_kernel_slices_the_slices_are_counted():
    row = 8 * 4
    assert counts(SLICED)["bytes"] == 2 * row + row + 2 * row


def test_collectives_are_counted_with_the_bytes_of_their_results():
    assert counts(PROGRAM)["collectives"] == {"all-reduce": {"count": 1, "bytes": 128}}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("f32[]", 4),
        ("bf16[3]{0}", 6),
        ("pred[2,3]{1,0}", 6),
        ("f8e4m3fn[5,2]{1,0}", 10),
        ("c64[2]{0}", 16),
        ("(f32[2]{0}, u8[100]{0}, u8[2,2]{1,0})", 12),
        ("token[]", 0),
    ],
)
def test_size_of_a_shape_in_bytes(shape, expected):
    assert size(shape) == expected
