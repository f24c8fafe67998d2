"""Tar shards of images in the layout of WebDataset: `train-000000.tar` and so on, an image `KEY.jpg` beside its label `KEY.cls`.

Names such as `train-00000-of-00010.tar` tell how many there are. Shards are not unpacked: an index of all members is made once,
and an image is read at its place when it is needed.
"""

import collections
import functools
import io
import itertools
import logging
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from dsrna_jax.data.dataset import Reader
from dsrna_jax.data.decoding import Picture
from dsrna_jax.data.formats import readable_suffixes
from dsrna_jax.data.pictures import PictureReader, Pictures
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import expanded, text_of

PREFIX = "shards:"
CLASSES = "classes.txt"  # beside the shards, if classes have names: one a line, in the order of their labels
MOST_CLASSES = 1_000_000
_SHARD = re.compile(r"(?:.*[-_.])?(?!of[-_.])(?P<split>[^-_.\d]+)(?:[-_.](?P<number>\d+)(?:[-_.]of[-_.](?P<count>\d+))?)?\.tar")
_log = logging.getLogger(__name__)


def tar_shards(name: str, data_dir: Path) -> Reader | None:
    """The source of `shards:PATH`, a folder of tar files; the last word of their names, before a number, is their split.

    The folder need not exist: the reader raises InputError then.
    """
    if not name.startswith(PREFIX):
        return None
    return PictureReader(functools.partial(_members, name, expanded(name.removeprefix(PREFIX))))


class _Image(NamedTuple):
    """An image: `size` bytes from `start` on in shard number `shard`. key: its name without the suffix."""

    key: str
    shard: int
    start: int
    size: int
    format: str
    label: int


class _Members(Pictures):
    """Images inside the shards of a split; three channels in streams, since grey ones are known only when all are decoded."""

    channels = 3

    def __init__(self, name: str, source: str, classes: tuple[str, ...], shards: list[Path], images: list[_Image]):
        self.name, self.source, self.class_names = name, source, classes
        self._shards, self._keys = [str(shard) for shard in shards], [image.key for image in images]
        self._places = np.array([(image.shard, image.start, image.size) for image in images], np.int64).reshape(-1, 3)
        self._formats = sorted({image.format for image in images})
        self._format_of = np.array([self._formats.index(image.format) for image in images], np.int8)
        self._labels = np.array([image.label for image in images], np.int32)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Picture:
        shard, start, size = map(int, self._places[index])
        try:
            with open(self._shards[shard], "rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise InputError(f"cannot read the shard {self._shards[shard]}: {error.strerror}") from error
        origin = f"{self._keys[index]} in {self._shards[shard]}"
        return Picture(origin, io.BytesIO(content), int(self._labels[index]), (self._formats[self._format_of[index]],))

    @property
    def labels(self) -> Int32[np.ndarray, " examples"]:
        return self._labels


def _members(name: str, path: Path, split: str) -> _Members:
    if name == PREFIX:
        raise InputError("expected shards:PATH, the path of a folder of tar files, got shards: alone")
    shards = shards_by_split(path)
    for needed in ("train", split):
        if needed not in shards:
            some = ", ".join(shards) or "none"
            raise InputError(f"expected shards {needed}-000000.tar, ... in {path}, but its splits are: {some}")
    images = list(_images(shards[split]))
    classes = _classes(path, images if split == "train" else None, shards["train"])
    if strange := [image for image in images if image.label >= len(classes)]:
        where = f"{strange[0].key} in {shards[split][strange[0].shard]}"
        known = path / CLASSES if (path / CLASSES).exists() else "the shards of train"
        raise InputError(f"{where} has the label {strange[0].label}, but {known} has {len(classes)} classes")
    return _Members(name, f"{path} {split}", classes, shards[split], images)


def shards_by_split(path: Path) -> Mapping[str, list[Path]]:
    """The shards of each split in the order of their numbers; logs which numbers are missing. Raises: InputError without any."""
    if not path.is_dir():
        raise InputError(f"expected a folder of tar shards, but {path} is not a folder")
    if packed := sorted(path.glob("*.tar.*")):
        raise InputError(
            f"{packed[0]} is compressed, so that no image can be read by itself: unpack it to .tar (gunzip, zstd -d)"
        )
    numbered, counts = collections.defaultdict(dict), collections.defaultdict(set)
    for file in sorted(path.glob("*.tar")):
        if (parts := _SHARD.fullmatch(file.name)) is None:
            raise InputError(f"cannot tell the split of {file}: expected a name such as train-000000.tar")
        if not file.is_file():
            raise InputError(f"cannot read the shard {file}: it is not a regular file; replace or remove it")
        number = int(parts["number"] or 0)
        if (other := numbered[parts["split"]].setdefault(number, file)) != file:
            raise InputError(f"{other} and {file.name} are both shard {number} of {parts['split']}: remove one")
        counts[parts["split"]].add(int(parts["count"] or 0))
    if not numbered:
        raise InputError(f"{path} holds no tar file: expected shards such as train-000000.tar")
    for split, shards in numbered.items():
        if len(counts[split]) > 1:
            told = " and ".join(str(count or "no number") for count in sorted(counts[split]))
            raise InputError(f"names of the shards of {split} in {path} tell of {told} in all: remove those of one set")
        (count,) = counts[split]
        if missing := _missing(shards, count):
            some, told = ", ".join(missing[:9]) + ", ..." * (len(missing) > 9), f"of the {count} " if count else ""
            _log.warning("%s holds %d %sshards of %s; numbers %s are missing", path, len(shards), told, split, some)
    return {split: [shards[number] for number in sorted(shards)] for split, shards in numbered.items()}


def _missing(shards: Mapping[int, Path], count: int) -> list[str]:
    """The ranges of numbers that are missing among the shards of a split, of which there are `count`, 0 if that is unknown.

    They begin at 0, or at 1 if the last is number `count`. Raises: InputError if there are others.
    """
    first = int(count in shards and 0 not in shards)
    if count and (last := max(shards)) >= first + count:
        raise InputError(f"{shards[last]} is none of {count} shards: expected numbers from {first} to {first + count - 1}")
    ends: list[int] = [first - 1, *sorted(shards)] + ([first + count] if count else [])
    gaps = ((low + 1, high - 1) for low, high in itertools.pairwise(ends) if high > low + 1)
    return [f"{low} to {high}" if low < high else f"{low}" for low, high in gaps]


def _images(shards: list[Path]) -> Iterator[_Image]:
    """All images of some shards, in the order in which they lie there. Raises: InputError if a shard or a label is damaged."""
    suffixes = readable_suffixes()
    for number, path in enumerate(shards):
        images, labels = {}, {}
        try:
            with tarfile.open(path, "r:") as archive:
                for key, suffix, member in _files(archive):
                    if suffix == ".cls" and key in labels:
                        raise InputError(f"{path} has two labels {key}: expected one beside each image")
                    elif suffix == ".cls":
                        labels[key] = _label(archive, member, path)
                    elif suffix in suffixes and key in images:
                        raise InputError(f"{path} has two images {key}: expected one beside each label")
                    elif suffix in suffixes:
                        images[key] = (member.offset_data, member.size, suffixes[suffix])
                _check_end(path, archive.offset)
        except (tarfile.TarError, OSError) as error:
            raise InputError(f"cannot read the shard {path}: {error}; replace it") from error
        if unlabelled := [key for key in images if key not in labels]:
            key = unlabelled[0]
            raise InputError(f"{key} in {path} has no label: expected its class, a number, in {key}.cls beside it")
        if lone := len(labels.keys() - images.keys()):
            _log.warning("passed over %d labels without an image in %s", lone, path)
        for key, (start, size, kind) in images.items():
            yield _Image(key, number, start, size, kind, labels[key])


def _check_end(path: Path, end: int) -> None:
    """Raises: InputError unless all bytes of a shard from `end` on, where its members end, are 0; logs if there are none.

    At a damaged header, and between shards that were joined as files, tarfile stops without a word.
    """
    with open(path, "rb") as file:
        file.seek(end)
        if not (block := file.read(2**20)):
            _log.warning("%s has no mark of its end: it may have been cut short", path)
        while block:
            if block.strip(b"\0"):
                raise InputError(
                    f"cannot read the shard {path} from byte {end:,} on: its header is damaged there, or it is of several shards "
                    "in one file; replace it"
                )
            block = file.read(2**20)


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, str, tarfile.TarInfo]]:
    """Key, suffix and header of each file of a shard: its name up to the first dot after its folder, and what follows."""
    for member in archive:
        folder, slash, file = member.name.rpartition("/")
        stem, dot, suffix = file.partition(".")
        if member.issparse() or member.islnk() or member.issym():
            raise InputError(f"{member.name} in {archive.name} is a link, or has holes: pack the files as they are")
        if member.isfile():
            yield f"{folder}{slash}{stem}", f"{dot}{suffix.lower()}", member


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    file = archive.extractfile(member)
    text = file.read(100).strip() if file else b""
    if not text.isdigit() or member.size > 100 or int(text) >= MOST_CLASSES:
        raise InputError(
            f"{member.name} in {path} is no label: expected a number from 0 to {MOST_CLASSES - 1:,}, got {shown(text)}"
        )
    return int(text)


def _classes(path: Path, images: list[_Image] | None, train: list[Path]) -> tuple[str, ...]:
    """Names of the classes by `CLASSES`; without that file, their numbers, as many as the shards of train have."""
    try:
        names = text_of(path / CLASSES).splitlines()
    except FileNotFoundError:
        count = 1 + max((image.label for image in (images if images is not None else _images(train))), default=-1)
        names = [str(label) for label in range(count)]
    if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
        raise InputError(f"{path} has {len(names)} classes: expected two or more, each with a name of its own")
    return tuple(names)
