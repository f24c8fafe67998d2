"""Properties read from VNNLIB files hold the points that satisfy the formula of the file; bad files end in one line."""

import gzip
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrna_jax.errors import InputError
from dsrna_jax.interchange import s_expressions, vnnlib

INPUTS, OUTPUTS = 2, 3
DECLARED = "".join(f"(declare-const X_{i} Real)\n" for i in range(INPUTS)) + "".join(
    f"(declare-const Y_{i} Real)\n" for i in range(OUTPUTS)
)
BOX = "(assert (>= X_0 -2)) (assert (<= X_0 2)) (assert (>= X_1 -2)) (assert (<= 2 (* -1 (- X_1 4))))\n"
UNSAFE = "(assert (<= Y_0 Y_1))\n"

numbers = st.integers(-8, 8).map(lambda n: f"{n / 4:.2e}")
bounds_of_inputs = st.builds("({} X_{} {})".format, st.sampled_from(["<=", ">="]), st.integers(0, INPUTS - 1), numbers)
terms = st.recursive(
    st.one_of(numbers, st.builds("Y_{}".format, st.integers(0, OUTPUTS - 1))),
    lambda parts: st.one_of(
        st.lists(parts, min_size=1, max_size=3).map(lambda p: f"(+ {' '.join(p)})"),
        st.lists(parts, min_size=1, max_size=3).map(lambda p: f"(- {' '.join(p)})"),
        st.builds("(* {} {})".format, numbers, parts),
    ),
    max_leaves=4,
)
of_outputs = st.builds("({0} (+ Y_0 (* 31 Y_1) {1}) {2})".format, st.sampled_from(["<=", ">=", "<", ">"]), terms, numbers)
connectives = st.sampled_from(["and", "or"])
formulas = st.recursive(
    st.one_of(of_outputs, bounds_of_inputs),
    lambda parts: st.builds("({} {})".format, connectives, st.lists(parts, min_size=1, max_size=3).map(" ".join)),
    max_leaves=6,
)


def value(item, point):
    """The truth value or number of a formula or term at a point, by the meaning of SMT-LIB."""
    if isinstance(item, str):
        return point[item] if item in point else float(item)
    parts = [value(part, point) for part in item.items[1:]]
    first, *others = parts
    return {
        "and": lambda: all(parts),
        "or": lambda: any(parts),
        "<=": lambda: first <= others[0],
        ">=": lambda: first >= others[0],
        "<": lambda: first < others[0],
        ">": lambda: first > others[0],
        "=": lambda: first == others[0],
        "+": lambda: sum(parts),
        "-": lambda: first - sum(others) if others else -first,
        "*": lambda: np.prod(parts),
    }[item.head]()


@settings(max_examples=60, deadline=None)
@given(st.lists(formulas, min_size=1, max_size=3), st.integers(0, 2**32 - 1))
def test_properties_hold_the_points_that_satisfy_the_formula(asserted, seed):
    """Numbers are multiples of 1/4 and points of 1/8 + 1/4 n, so that rounding decides nothing but ties of terms."""
    text = DECLARED + BOX + UNSAFE + "\n".join(f"(assert {formula})" for formula in asserted)
    try:
        properties = vnnlib.parsed_properties(text)
    except InputError as error:
        assert "above its upper bound" in str(error)
        properties = ()
    all_asserted = [form.items[1] for form in s_expressions.parsed(text) if form.head == "assert"]
    points = np.random.default_rng(seed).integers(-9, 9, (40, INPUTS + OUTPUTS)) / 4 + 1 / 8
    for point in points:
        x, y = point[:INPUTS], point[INPUTS:]
        named = {f"X_{i}": v for i, v in enumerate(x)} | {f"Y_{i}": v for i, v in enumerate(y)}
        held = [p for p in properties if np.all(p.lower <= x) and np.all(x <= p.upper)]
        assert all(value(f, named) for f in all_asserted) == any(p.is_unsafe(y[None])[0] for p in held)


@pytest.mark.parametrize("gap", ["\n", "\t ", " ; a comment (of\n"])
def test_gaps_between_words_change_nothing(gap):
    text = DECLARED + BOX + "(assert (or (and (<= X_0 0.5) (>= Y_0 (* 2.0 Y_1))) (<= (+ Y_0 1) -2)))"
    for one, other in zip(*map(vnnlib.parsed_properties, (text, text.replace(" ", gap))), strict=True):
        for mine, its in zip(one, other, strict=True):
            np.testing.assert_array_equal(mine, its)


def test_a_union_holds_the_boxes_and_what_is_unsafe_in_each():
    """Boxes with one, two and three clauses, of one or two rows: points are unsafe by the union where they are by a property."""
    cases = ["(and (<= X_0 0.5) (>= Y_0 1))", "(and (<= X_0 0.5) (<= Y_0 Y_1) (<= Y_1 0))"]
    cases += [
        "(and (>= X_0 0.25) (or (<= Y_0 0) (and (>= Y_1 1) (>= Y_0 2)) (<= (+ Y_0 Y_1) -1)))",
        "(and (>= X_1 0.5) (>= Y_1 0))",
    ]
    properties = vnnlib.parsed_properties(DECLARED + BOX + UNSAFE + f"(assert (or {' '.join(cases)}))")
    boxes, specification = vnnlib.union(properties, (1, INPUTS), (OUTPUTS, 1))
    assert len(properties) == len(boxes.lower) == 3 and specification.rows.shape[2:] == (OUTPUTS, 1)
    outputs = np.random.default_rng(0).integers(-9, 9, (200, OUTPUTS)) / 4 + 1 / 8
    for box, own in enumerate(properties):
        np.testing.assert_array_equal([boxes.lower[box, 0], boxes.upper[box, 0]], [own.lower, own.upper])
        holds = specification.of_examples(np.full(200, box)).holds(
            np.einsum("yo,ro->yr", outputs, specification.rows[box, ..., 0]) + specification.offsets[box]
        )
        np.testing.assert_array_equal(~np.asarray(holds), own.is_unsafe(outputs))


NETWORK = """(vnnlib-version <2.0>)
(declare-network f  ; comments, and the names of an ONNX file
  (declare-input images float32 [1, 2] "input: 0 (of 2)")
  (declare-output logit_s Real [3,1])
)
"""


def as_tensors(text):
    """The assertions of a text, of the tensors of `NETWORK`."""
    text = re.sub(r"X_(\d)", r"images[0, \1]", text.removeprefix(DECLARED))
    return NETWORK + re.sub(r"Y_(\d)", r"logit_s [\1,0]", text).replace("(= ", "(== ")


@settings(max_examples=40, deadline=None)
@given(st.lists(formulas, max_size=3))
def test_properties_of_tensors_are_those_of_their_entries(asserted):
    """VNNLIB 2.0 beside 1.0, errors included."""
    text = DECLARED + BOX + UNSAFE + "(assert (= X_1 0.5))\n" + "\n".join(f"(assert {formula})" for formula in asserted)
    found = []
    for each in (text, as_tensors(text)):
        try:
            found.append(vnnlib.parsed_properties(each))
        except InputError as error:
            found.append(re.sub(r"images\[0,(\d)\]", r"X_\1", str(error)))
    first, second = found
    assert isinstance(first, str) == isinstance(second, str) and len(first) == len(second)
    if isinstance(first, str):
        assert first == second
    else:
        for a, b in zip(first, second, strict=True):
            assert all(map(np.array_equal, a[:4], b[:4])) and a[4:] == b[4:]


def test_a_tensor_without_axes_is_one_number_and_unequal_numbers_are_two_cases():
    text = "(vnnlib-version <2.0>) (declare-network f (declare-input x real []) (declare-output y float64 [2]))"
    (found,) = vnnlib.parsed_properties(text + "(assert (and (>= x 0) (<= x 1))) (assert (!= y[0] y[1]))")
    assert (found.lower, found.upper) == (0, 1)
    np.testing.assert_array_equal(found.is_unsafe(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])), [True, True, False])


def test_boxes_in_a_disjunction_are_properties_of_their_own():
    halves = "(assert (or (and (<= X_0 -1) (<= Y_2 0.5)) (and (>= X_0 1) (<= Y_2 1e-1)) (and (>= X_0 1) (>= Y_2 7))))"
    first, second = vnnlib.parsed_properties(DECLARED + BOX + UNSAFE + halves)
    assert (first.lower[0], first.upper[0], second.lower[0], second.upper[0]) == (-2, -1, 1, 2)
    assert len(first.clauses) == 1 and len(second.clauses) == 2
    np.testing.assert_array_equal(first.is_unsafe(np.array([[0, 1, 0.5], [0, 1, 0.6], [1, 0, 0]])), [True, False, False])


def test_strict_comparisons_leave_their_ties_safe():
    (found,) = vnnlib.parsed_properties(DECLARED + BOX + UNSAFE + "(assert (> Y_2 0.5))")
    np.testing.assert_array_equal(found.is_unsafe(np.array([[0, 1, 0.5], [0, 1, 0.6], [1, 1, 0.6]])), [False, True, True])
    assert found.is_unsafe(np.array([[0, 1, 0.5]]), tolerance=1e-6)[0]


def test_comments_signs_and_packed_files_are_read(tmp_path):
    text = f"; a comment (with brackets\n(set-logic QF_LRA){DECLARED}{BOX}{UNSAFE}(check-sat)"
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(gzip.compress(text.replace("\n", "\r\n").encode("utf-8-sig")))  # as editors on Windows save it
    (found,) = vnnlib.read(path)
    np.testing.assert_array_equal(found.lower, [-2, -2])
    np.testing.assert_array_equal(found.rows, [[1, -1, 0]])


def test_an_equation_fixes_an_input():
    (found,) = vnnlib.parsed_properties(DECLARED + BOX + UNSAFE + "(assert (= X_1 0.25))")
    assert found.lower[1] == found.upper[1] == 0.25


def test_a_witness_is_the_point_in_brackets():
    text = vnnlib.witness(np.array([[0.1, -2e-9]]), np.array([[3.0]]))
    (form,) = s_expressions.parsed(text)
    pairs = {pair.items[0]: float(pair.items[1]) for pair in form.items}
    assert pairs == {"X_0": 0.1, "X_1": -2e-9, "Y_0": 3.0}


BAD = {
    "line 6: .* a \\( without its \\)|line 6: a \\(": DECLARED + "(assert (<= X_0 1)",
    "line 6: a \\) without": DECLARED + "(assert (<= X_0 1)))",
    "outside of brackets": "X_0 " + DECLARED,
    "deep": DECLARED + "(" * 100,
    "line 6: 'Z_0' is neither": DECLARED + "(assert (<= Z_0 1))",
    "line 6: 'X_2' is neither": DECLARED + "(assert (<= X_2 1))",
    "'X_00' is neither": DECLARED + "(assert (<= X_00 1))",
    "'nan' is no finite": DECLARED + "(assert (<= X_0 nan))",
    "'1_0' is no finite": DECLARED + "(assert (<= X_0 1_0))",
    "'1e999' is no finite": DECLARED + "(assert (<= X_0 1e999))",
    "product of two variables": DECLARED + "(assert (<= (* Y_0 Y_1) 1))",
    "\\(/ ...\\) is no linear term": DECLARED + "(assert (<= (/ Y_0 2) 1))",
    "condition on several inputs, X_0, X_1": DECLARED + "(assert (<= X_0 X_1))",
    "comparison of inputs with outputs": DECLARED + "(assert (<= X_0 Y_1))",
    "a strict bound of an input, X_1": DECLARED + "(assert (< X_1 1))",
    "without a variable": DECLARED + "(assert (<= 1 2))",
    "\\(not ...\\)": DECLARED + "(assert (not (<= X_0 1)))",
    "expected a comparison, got 'X_0'": DECLARED + "(assert X_0)",
    "expected \\(assert FORMULA\\)": DECLARED + "(assert)",
    "empty \\(or\\)": DECLARED + "(assert (or))",
    "X_1 has no lower bound": DECLARED + UNSAFE + "(assert (<= X_0 1)) (assert (>= X_0 0)) (assert (<= X_1 0))",
    "X_0 has lower bound 3 above its upper bound 2": DECLARED + BOX + UNSAFE + "(assert (>= X_0 3))",
    "asserts nothing of the outputs": DECLARED + BOX,
    "declared twice": DECLARED + "(declare-const X_0 Real)",
    "X_2 is not declared": DECLARED + "(declare-const X_3 Real)",
    "Y_0 is not declared": "(declare-const X_0 Real)",
    "'Z_3' is declared": DECLARED + "(declare-const Z_3 Real)",
    "expected \\(declare-const NAME Real\\)": "(declare-const X_0 Int)",
    "version '<3.0>' of VNNLIB is not read": "(vnnlib-version <3.0>)",
    "line 6: the file declares 2 networks: expected one network": NETWORK + "(declare-network g (declare-input z Real [1]))",
    "variables beside a network": NETWORK + DECLARED,
    "line 1: \\(declare-hidden ...\\) of a network": '(declare-network f (declare-hidden h float32 [1] "h"))',
    "line 1: \\(equal-to ...\\) of a network": "(declare-network f (equal-to g))",
    "the network has 0 outputs": "(declare-network f (declare-input x float32 [1]))",
    "the network has 2 inputs": "(declare-network f (declare-input x Real [1]) (declare-input z Real [1]))",
    "x is declared twice": "(declare-network f (declare-input x Real [1]) (declare-output x Real [1]))",
    "x is of type 'int32'": "(declare-network f (declare-input x int32 [1]))",
    "x of shape \\[2, 0\\] has no entry": "(declare-network f (declare-input x Real [2,0]))",
    "expected \\(declare-input NAME TYPE \\[LENGTHS\\]\\)": "(declare-network f (declare-input x Real))",
    "line 6: 'images\\[0,2\\]' is neither": NETWORK + "(assert (<= images[0,2] 1))",
    "line 6: 'images\\[0\\]' is neither": NETWORK + "(assert (<= images[0] 1))",
    "line 6: 'images' is neither": NETWORK + "(assert (<= images 1))",
    "images\\[0,1\\] has no lower bound": NETWORK + "(assert (and (<= images[0,0] 1) (>= images[0,0] 0)))",
    "several inputs, images\\[0,0\\], images\\[0,1\\]": NETWORK + "(assert (<= images[0,0] images[0,1]))",
    "\\(push ...\\) is not known": "(push 1)",
    "more than 1,000,000 cases": DECLARED + BOX + 20 * "(assert (or (<= Y_0 1) (<= Y_1 1)))",
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_property_is_refused_in_one_line(message, tmp_path):
    path = tmp_path / "p.vnnlib"
    path.write_text(BAD[message])
    with pytest.raises(InputError, match=message) as caught:
        vnnlib.read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_files_that_are_absent_or_no_text_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        vnnlib.read(tmp_path / "absent.vnnlib")
    (tmp_path / "p.vnnlib").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        vnnlib.read(tmp_path / "p.vnnlib")


def test_a_property_is_given_to_the_verifier_in_the_shapes_of_a_function():
    """Rounded offsets are at most those of the file, and factors that would be rounded are refused."""
    text = DECLARED + BOX + "(assert (>= (+ (* 2 Y_0) Y_2 0.3) 0))(assert (or (<= Y_1 0.7) (<= Y_1 Y_2)))"
    (found,) = vnnlib.parsed_properties(text)
    region, specification = found.region((1, INPUTS)), found.specification((OUTPUTS, 1))
    assert region.lower.shape == (1, 1, INPUTS) and specification.rows.shape == (3, OUTPUTS, 1)
    assert found.region().upper.shape == (1, INPUTS) and found.specification().rows.shape == (3, OUTPUTS)
    offsets = np.asarray(specification.offsets)
    assert offsets.dtype == np.float32 and np.all(offsets.astype(float) <= found.offsets)
    np.testing.assert_allclose(offsets, found.offsets, rtol=1e-6)
    outputs = np.random.default_rng(0).normal(size=(50, OUTPUTS))
    values = outputs @ np.asarray(specification.rows)[..., 0].T + offsets
    np.testing.assert_array_equal(np.asarray(specification.holds(values)), ~found.is_unsafe(outputs))
    with pytest.raises(InputError, match=r"float32 does not hold .* dtype=numpy.float64"):
        vnnlib.parsed_properties(DECLARED + BOX + "(assert (>= (* 0.1 Y_0) 0))")[0].specification()
    with pytest.raises(InputError, match=r"JAX does not compute in float64 here"):
        found.specification(dtype=np.float64)
