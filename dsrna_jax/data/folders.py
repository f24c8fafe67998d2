"""Folders of images with one sub-folder a class."""

import functools
from pathlib import Path

import numpy as np

from dsrna_jax.data.dataset import Dataset, Reader
from dsrna_jax.data.decoding import Picture, stacked
from dsrna_jax.data.splits import fixed_split
from dsrna_jax.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
PREFIX = "folder:"


def marked_folder(name: str, data_dir: Path) -> Reader | None:
    """The source of `folder:PATH`, which need not exist: reading it says so."""
    return functools.partial(_read, name, Path(name.removeprefix(PREFIX)).expanduser()) if name.startswith(PREFIX) else None


def existing_folder(name: str, data_dir: Path) -> Reader | None:
    """The source of PATH alone, where there is such a folder."""
    path = Path(name).expanduser()
    return functools.partial(_read, name, path) if name and path.is_dir() else None


def _read(name: str, path: Path, split: str, image_size: int) -> Dataset:
    if not path.is_dir():
        raise InputError(f"expected a folder of images, with one sub-folder a class, but {path} is not a folder")
    if any(_sub_folders(path / "train")):
        classes = _class_files(path / "train")
        files = classes if split == "train" else _class_files(path / split)
        if strange := sorted(set(files) - set(classes)):
            raise InputError(f"{path / split / strange[0]} is no class of {path / 'train'}: add it there or remove it")
        chosen = [(file, label) for label, kind in enumerate(classes) for file in files.get(kind, ())]
    else:
        classes = _class_files(path)
        if lone := [kind for kind, files in classes.items() if len(files) == 1]:
            raise InputError(f"class folder {path / lone[0]} holds one image: splitting off a test set needs two")
        every = [(file, label) for label, files in enumerate(classes.values()) for file in files]
        chosen = [every[index] for index in fixed_split(np.array([label for _, label in every]), split)]
    pictures = [Picture(str(file), file, label) for file, label in chosen]
    return Dataset(name, *stacked(pictures, len(chosen), image_size, str(path)), tuple(classes))


def _sub_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _class_files(path: Path) -> dict[str, list[Path]]:
    """Image files of every class folder in `path`, all sorted, so that the order is the same on every machine."""
    if not path.is_dir():
        raise InputError(f"expected a split with one sub-folder a class in {path}, but there is no such folder")
    classes = {
        folder.name: sorted(
            file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
        )
        for folder in _sub_folders(path)
    }
    if len(classes) < 2:
        present = f"only {next(iter(classes))}" if classes else "none"
        raise InputError(f"expected two or more sub-folders of images in {path}, one a class, but found {present}")
    if empty := [kind for kind, files in classes.items() if not files]:
        expected = " ".join(IMAGE_SUFFIXES)
        raise InputError(f"class folder {path / empty[0]} holds no image: remove it or add files ({expected})")
    return classes
