"""Garbled copies of JSON files: every field in turn replaced by nonsense, and bytes that are no JSON."""

import json
from pathlib import Path

from dsrna_jax.errors import InputError

NONSENSE = (None, True, 1.5, -1, 10**400, "x", "", "\n", [], {}, [[]], {"a": 1})
NO_JSON = {
    "empty": b"",
    "cut short": b'{"a": [1, ',
    "two values": b"1 2",
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": [-Infinity]}',
    "beyond floats": b'{"a": 1e999}',
    "twice": b'{"a": 1, "a": 2}',
    "twice inside": b'[{"b": {"a": 1, "a": 2}}]',
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "half surrogate": b'{"a": "\\ud800"}',
    "deep": b"[" * 65 + b"]" * 65,
    "very deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "digits without end": b"1" * 100_000,
    "comment": b"{} // none",
    "NUL": b"\0",
}
OTHER_JSON = {"null": b"null", "a number": b"1", "a text": b'"x"', "a list": b"[]", "no fields": b"{}", "lists": b"[[], [[]]]"}


def garbled(value):
    """(what was done, copy) for every field inside a JSON value: replaced by each of `NONSENSE` of another type, or left out."""
    if not isinstance(value, dict | list):
        return
    for key in value if isinstance(value, dict) else range(len(value)):
        own = value[key]
        if isinstance(value, dict):
            yield f"{key} left out", {name: item for name, item in value.items() if name != key}
        for other in NONSENSE:
            is_same = isinstance(own, int | float) and not isinstance(own, bool) and type(other) in (int, float)
            if not is_same and type(other) is not type(own):
                yield f"{key}={other!r:.20}", _with(value, key, other)
        for done, inner in garbled(own):
            yield f"{key}.{done}", _with(value, key, inner)


def _with(value, key, item):
    copy = value.copy()
    copy[key] = item
    return copy


def assert_garbled_is_refused_or_makes_no_difference(file, read, *, named=None, allowed=lambda done: False):
    """Reads garbled copies of `file`: each gives an InputError of one line that names it (or `named`), or what `file` gives.

    Args:
      allowed: whether what was done to the file may give another result.
    """
    file = Path(file)
    good = file.read_bytes()
    before = read()
    copies = [(f"is {name}", content) for name, content in (NO_JSON | OTHER_JSON).items()]
    copies += [(done, json.dumps(value).encode()) for done, value in garbled(json.loads(good))]
    refused = 0
    for done, content in copies:
        file.write_bytes(content)
        try:
            after = read()
        except InputError as error:
            refused += 1
            assert str(named or file) in str(error) and "\n" not in str(error) and len(str(error)) < 1000, (done, str(error))
        else:
            assert after == before or allowed(done), done
    file.write_bytes(good)
    assert read() == before and refused > len(NO_JSON)
