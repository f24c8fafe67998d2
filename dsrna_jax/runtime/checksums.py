"""Checksums of the files in a folder, in a file `SHA256SUMS` that `sha256sum -c` reads too."""

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"


def write_sums(folder: Path) -> None:
    """Writes the checksums of all files in a folder and its subfolders, except hidden ones."""
    (folder / SUMS).write_text("".join(f"{_digest(folder / name)}  {name}\n" for name in _files(folder)))


def damage(folder: Path) -> str | None:
    """The damage to the files of a folder, in a few words; None if all are as when the checksums were written."""
    name = SUMS
    try:
        sums = {}
        for line in (folder / SUMS).read_text().splitlines():
            digest, _, name = line.partition("  ")
            if _digest(folder / name) != digest:
                return f"{name} is not as it was written"
            sums[name] = digest
        unlisted = set(_files(folder)) - set(sums)
        return f"{SUMS} does not list {min(unlisted)}" if unlisted or not sums else None
    except OSError as error:
        return f"{name}: {error.strerror}"
    except ValueError:  # not text
        return f"{SUMS} is not as it was written"


def _files(folder: Path) -> list[str]:
    names = (file.relative_to(folder).as_posix() for file in folder.rglob("[!.]*") if file.is_file())
    return sorted(name for name in names if name != SUMS)


def _digest(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
