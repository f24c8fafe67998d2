"""JSON is read as the standard has it, and what has another shape is refused by the name of the field."""

import json
import os

import pytest
from garbled import NO_JSON
from hypothesis import given
from hypothesis import strategies as st

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError, shown
from dsrna_jax.runtime.options import interval
from dsrna_jax.strict_json import Nullable, Optional, check


@pytest.mark.parametrize("name", NO_JSON)
def test_what_is_no_json_is_refused_in_one_line_with_the_name_of_the_file(tmp_path, name):
    file = tmp_path / "a.json"
    file.write_bytes(NO_JSON[name])
    with pytest.raises(InputError, match="a.json: expected ") as caught:
        strict_json.read(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_json_is_read_as_it_was_written(value):
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return
    assert strict_json.parsed(json.dumps(value)) == value


def test_what_is_no_file_is_refused_and_never_blocks(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    for name in ("pipe.json", "folder.json"):
        with pytest.raises(InputError, match=f"{name} is not a regular file"):
            strict_json.read(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        strict_json.read(tmp_path / "absent.json")


SHAPE = {
    "name": str,
    "count": (int, interval("[1, 9]")),
    "share": interval("[0, 1)"),
    "norm": frozenset({"linf", "l2"}),
    "rows": [{"right": bool, "value": Nullable(float)}],
    "more": Optional({str: int}),
}
GOOD = {
    "name": "a",
    "count": 2,
    "share": 0.5,
    "norm": "l2",
    "rows": [{"right": True, "value": 1}, {"right": False, "value": None}],
    "other": 1,
}


def test_what_has_the_shape_passes():
    check(GOOD, SHAPE)
    check({**GOOD, "more": {"x": 1}}, SHAPE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 1}, "name to be a text, got 1"),
        ({"count": 2.0}, "count to be a whole number, got 2.0"),
        ({"count": True}, "count to be a whole number, got True"),
        ({"count": 10**400}, r"count to be a number in \[1, 9\], got 1000"),
        ({"share": 1}, r"share to be a number in \[0, 1\), got 1"),
        ({"share": "0.5"}, r"share to be a number in \[0, 1\), got '0.5'"),
        ({"norm": "l1"}, "norm to be one of l2, linf, got 'l1'"),
        ({"norm": []}, r"norm to be one of l2, linf, got \[\]"),
        ({"rows": {}}, "rows to be a list, got {}"),
        ({"rows": [GOOD["rows"][0], None]}, r"rows\[1\] to be an object, got None"),
        ({"rows": [{"right": 1}]}, r"rows\[0\].right to be true or false, got 1"),
        ({"rows": [{"value": None}]}, r"the field rows\[0\].right, which is not there"),
        ({"rows": [{"right": True}]}, r"the field rows\[0\].value, which is not there"),
        ({"more": None}, "more to be an object, got None"),
        ({"more": {"x": "y"}}, "more.x to be a whole number, got 'y'"),
    ],
)
def test_what_has_another_shape_is_refused_by_its_path(change, said):
    with pytest.raises(InputError, match=f"expected {said}"):
        check({**GOOD, **change}, SHAPE)


def test_values_are_shown_on_one_line_that_ends():
    deep = []
    for _ in range(10**5):
        deep = [deep]
    for value in ("a\nb", "a" * 10**6, 10**5000, deep):
        assert len(shown(value)) <= 80 and "\n" not in shown(value)
