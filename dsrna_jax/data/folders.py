"""Folders of images with one sub-folder a class."""

import collections
import functools
import logging
import os
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from dsrna_jax.data.dataset import Reader
from dsrna_jax.data.decoding import Picture
from dsrna_jax.data.formats import readable_suffixes
from dsrna_jax.data.pictures import PictureReader, Pictures
from dsrna_jax.data.splits import fixed_split
from dsrna_jax.errors import InputError
from dsrna_jax.files import expanded

PREFIX = "folder:"
PARTS = frozenset("train training val valid validation dev eval evaluation test testing holdout".split())  # of data sets
_log = logging.getLogger(__name__)


def marked_folder(name: str, data_dir: Path) -> Reader | None:
    """The source of `folder:PATH`. The folder need not exist: the reader raises InputError then."""
    return _reader(name, expanded(name.removeprefix(PREFIX))) if name.startswith(PREFIX) else None


def existing_folder(name: str, data_dir: Path) -> Reader | None:
    """The source of PATH without prefix, if there is such a folder."""
    return _reader(name, path) if name and (path := expanded(name)).is_dir() else None


class _Files(Pictures):
    """Image files below a folder; three channels in streams, since grey ones are known only when all are decoded."""

    channels = 3

    def __init__(self, name: str, path: Path, classes: tuple[str, ...], chosen: Sequence[tuple[Path, int]]):
        self.name, self.source, self.class_names = name, str(path), classes
        self._path, self._labels = path, np.array([label for _, label in chosen], np.int32)
        self._files = [os.path.relpath(file, path) for file, _ in chosen]  # text takes less memory than paths
        self._formats = readable_suffixes()

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Picture:
        file = self._path / self._files[index]
        return Picture(str(file), file, int(self._labels[index]), (self._formats[file.suffix.lower()],))

    @property
    def labels(self) -> Int32[np.ndarray, " examples"]:
        return self._labels


def _reader(name: str, path: Path) -> PictureReader:
    return PictureReader(functools.partial(_files, name, path))


def _files(name: str, path: Path, split: str) -> _Files:
    if name == PREFIX:
        raise InputError("expected folder:PATH, the path of a folder of images, got folder: alone")
    if not path.is_dir():
        raise InputError(f"expected a folder of images, with one sub-folder a class, but {path} is not a folder")
    if any(_sub_folders(path / "train")):
        if split in ("", "..") or Path(split).name != split:
            raise InputError(f"expected a split that is a sub-folder of {path}, such as train, got {split!r}")
        folders = {part: _class_folders(path / part) for part in ("train", split)}
        classes = list(folders["train"])
        if strange := sorted(set(folders[split]) - set(classes)):
            raise InputError(f"{path / split / strange[0]} is not a class of {path / 'train'}: add it there or remove it")
        aside = [folder for folder in _sub_folders(path) if not {f.name for f in _sub_folders(folder)} & set(classes)]
        files = _class_files(path / split, folders[split], aside)
        chosen = [(file, label) for label, kind in enumerate(classes) for file in files.get(kind, ())]
    else:
        folders = _class_folders(path)
        if len(parts := [name for name in folders if name.lower() in PARTS]) > 1:
            raise InputError(
                f"{path / parts[0]} and {parts[1]} are parts of a data set by their names, no classes: name the one to train on "
                "train, and put its images in sub-folders, one a class"
            )
        files = _class_files(path, folders, [])
        classes = list(files)
        if lone := [kind for kind in classes if len(files[kind]) == 1]:
            raise InputError(f"class folder {path / lone[0]} holds one image: splitting off a test set needs two")
        every = [(file, label) for label, kind in enumerate(classes) for file in files[kind]]
        chosen = [every[index] for index in fixed_split(np.array([label for _, label in every]), split)]
    return _Files(name, path, tuple(classes), chosen)


def _class_folders(path: Path) -> dict[str, Path]:
    """The class folders in `path` by name, sorted. Raises: InputError if there are fewer than two."""
    if not path.is_dir():
        raise InputError(f"expected a split with one sub-folder a class in {path}, but there is no such folder")
    folders = {folder.name: folder for folder in _sub_folders(path)}
    if strange := [name for name in folders if name != name.encode("utf-8", "replace").decode("utf-8")]:
        raise InputError(f"the name of the class folder {strange[0]!r} in {path} is not UTF-8: give it another")
    if len(folders) < 2:
        present = f"only {next(iter(folders))}" if folders else "none"
        raise InputError(f"expected two or more sub-folders of images in {path}, one a class, but found {present}")
    return folders


def _class_files(path: Path, folders: dict[str, Path], aside: Sequence[Path]) -> dict[str, list[Path]]:
    """Image files of every class folder in `path`, at any depth, all sorted: the order is the same on every machine.

    Logs, in one line, how many files have no suffix of an image, are hidden or lie in no class folder, and the folders `aside`.
    Raises: InputError if a class has no image.
    """
    suffixes, seen = readable_suffixes(), {}
    below = {kind: _files_below(folder, suffixes, seen) for kind, folder in folders.items()}
    files = {kind: [file for file in entries if not _is_hidden(file)] for kind, entries in below.items()}
    hidden = [entry for entries in (*below.values(), path.iterdir()) for entry in entries if _is_hidden(entry)]
    images = {kind: [file for file in below if file.suffix.lower() in suffixes] for kind, below in files.items()}
    others = [file for entries in files.values() for file in entries if file.suffix.lower() not in suffixes]
    if empty := [kind for kind, some in images.items() if not some]:
        only = f", only {_counted(files[empty[0]])}" if files[empty[0]] else ""
        raise InputError(
            f"class folder {path / empty[0]} holds no image{only}: remove it, or add or convert files ({' '.join(suffixes)})"
        )
    loose = [entry for entry in _visible(path) if not entry.is_dir()]
    parts = [f"{_counted(others)}, such as {others[0]}"] if others else []
    parts += [f"{_counted(loose)} in no class folder"] if loose else []
    parts += [f"{len(hidden)} hidden, such as {hidden[0]}"] if hidden else []
    parts += [f"the folder{'s' * (len(aside) > 1)} {', '.join(map(str, aside))}, without a class of train"] if aside else []
    if parts:
        _log.warning("read %d images of %s, and passed over %s", sum(map(len, images.values())), path, "; ".join(parts))
    return images


def _counted(files: Sequence[Path]) -> str:
    """The number of files of each suffix: "3 .heic, 1 without suffix"."""
    counts = collections.Counter(file.suffix.lower() or "without suffix" for file in files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common())


def _files_below(folder: Path, suffixes: Collection[str], seen: dict[tuple[int, int], Path]) -> list[Path]:
    """The files in a folder and in those inside it, sorted, and hidden files and folders, as they are.

    Args:
      seen: folders that were read before, by their identity; those of `folder` are added.
    Raises: InputError if a folder is one of `seen` (links can make images count twice, or turn in circles) or cannot be read,
      or if an entry with the suffix of an image is neither a file nor a folder: a broken link, a pipe, a device.
    """
    files, pending = [], [folder]
    while pending:
        current = pending.pop()
        try:
            status = os.stat(current)
            if (before := seen.setdefault((status.st_dev, status.st_ino), current)) is not current:
                raise InputError(f"{current} is {before} again, by a link: its images would count twice; remove the link")
            with os.scandir(current) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    if _is_hidden(path):
                        files.append(path)
                    elif entry.is_dir():
                        pending.append(path)
                    elif entry.is_file() or path.suffix.lower() not in suffixes:
                        files.append(path)
                    else:
                        what = "a broken link" if entry.is_symlink() else "a pipe, socket or device"
                        raise InputError(f"cannot read the image {path}: it is {what}; replace or remove it")
        except OSError as error:
            raise InputError(f"cannot read the folder {current}: {error.strerror}") from error
    return sorted(files)


def _is_hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _visible(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not _is_hidden(entry))


def _sub_folders(path: Path) -> list[Path]:
    return [entry for entry in _visible(path) if entry.is_dir()] if path.is_dir() else []
