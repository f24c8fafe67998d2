"""Files are replaced as a whole or not at all, and nothing else is left in their folder."""

import pytest

from dsrna_jax.files import replacing, write_whole


def test_a_written_file_replaces_the_one_before(tmp_path):
    file = tmp_path / "file.txt"
    write_whole(file, "before")
    write_whole(file, "naïve")
    assert file.read_bytes() == "naïve".encode() and list(tmp_path.iterdir()) == [file]


def test_an_exception_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "file.bin"
    file.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), replacing(file) as temporary:
        temporary.write_bytes(b"half of")
        assert file.read_bytes() == b"before"
        raise ZeroDivisionError
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


def test_a_block_that_writes_nothing_is_an_error_and_replaces_nothing(tmp_path):
    file = tmp_path / "file"
    file.write_text("before")
    with pytest.raises(FileNotFoundError), replacing(file):
        pass
    assert file.read_text() == "before"
