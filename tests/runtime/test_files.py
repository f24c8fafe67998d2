"""Files are replaced as a whole or not at all, nothing else is left in their folder, and no pipe is read or replaced."""

import errno
import os
from pathlib import Path

import pytest

from dsrna_jax.commands.process import status
from dsrna_jax.errors import InputError
from dsrna_jax.files import content_of, replacing, text_of, write_whole


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


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left on device: '.*/page.html'"):
        write_whole(tmp_path / "page.html", "x")


def test_a_file_that_cannot_be_written_is_told_by_its_own_name(tmp_path, capsys):
    """The name of a temporary file, of the file itself or of one within it, tells a user nothing."""
    path = tmp_path / "absent" / "file.txt"

    def write(argv):
        with replacing(path) as temporary:
            write_whole(temporary, "x")

    with pytest.raises(FileNotFoundError) as error:
        write([])
    assert error.value.filename == str(path)
    assert status(write, ["write"]) == 1 and capsys.readouterr().err == f"error: {path}: No such file or directory\n"
    for use in (lambda: write_whole(path, "x"), lambda: os.replace(path, tmp_path / "other")):
        assert status(lambda _, use=use: use(), ["use"]) == 1
        assert capsys.readouterr().err == f"error: {path}: No such file or directory\n"


def test_a_block_that_writes_nothing_is_an_error_and_replaces_nothing(tmp_path):
    file = tmp_path / "file"
    file.write_text("before")
    with pytest.raises(FileNotFoundError), replacing(file):
        pass
    assert file.read_text() == "before"


def test_what_is_no_regular_file_is_neither_read_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("pipe", tmp_path / "link")
    for name in ("pipe", "link"):
        for use in (lambda path: write_whole(path, "x"), content_of, text_of):
            with pytest.raises(InputError, match=f"{name}.* is not a regular file"):
                use(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"] and (tmp_path / "pipe").is_fifo()


def test_a_text_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "text").write_bytes("\ufeffé".encode())
    assert text_of(tmp_path / "text") == "é"
    (tmp_path / "text").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match="text is not UTF-8"):
        text_of(tmp_path / "text")
