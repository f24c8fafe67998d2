"""Image classification sets of tensorflow_datasets, prepared as array_record: reading them needs no TensorFlow."""

import bisect
import contextlib
import functools
import io
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from dsrna_jax import strict_json
from dsrna_jax.data.dataset import Reader
from dsrna_jax.data.decoding import Picture
from dsrna_jax.data.pictures import PictureReader, Pictures
from dsrna_jax.errors import AbsentDataError, InputError, close_to, shown

SUGGESTIONS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped")

READ_AHEAD = 1024  # records fetched at once, which is faster than one by one
MOST_CLASSES = 1_000_000
FEW_RECORDS = 100_000  # of which the labels are read beforehand, where images are streamed
FORMATS = ("JPEG", "PNG", "BMP", "GIF")  # those that TensorFlow decodes

_AGAIN = "copy or prepare the data set again"

# The features that features.json may describe: those of pixels, labels, numbers and text. For any other name tfds would import
# the module that it names, from the working directory too.
FEATURES = frozenset(
    f"tensorflow_datasets.core.features.{name}"
    for name in (
        "bounding_boxes.BBoxFeature",
        "class_label_feature.ClassLabel",
        "features_dict.FeaturesDict",
        "image_feature.Image",
        "scalar.Scalar",
        "sequence_feature.Sequence",
        "tensor_feature.Tensor",
        "text_feature.Text",
    )
)


def prepared(name: str, data_dir: Path) -> Reader | None:
    """The source of tfds names such as `cifar10`, `cifar10_corrupted/fog_1` or `mnist:3.0.1`, where `data_dir` holds the set."""
    folder = _newest_version(name, data_dir)
    return None if folder is None else PictureReader(functools.partial(_records, name, folder), takes_parts=True)


def published_shape(name: str, image_size: int = 0) -> tuple[tuple[int, int, int], int]:
    """Image shape (height, width, channels) and number of classes of a tfds set, by its definition: it need not be prepared.

    Raises: InputError if the set is no image classification set, or its images differ in size and `image_size` is 0.
    """
    import tensorflow_datasets as tfds

    try:
        with contextlib.redirect_stderr(io.StringIO()):
            info = tfds.builder(name, data_dir=os.devnull).info
    except Exception as error:  # tfds raises different types for an unknown name, configuration and version
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"tfds has no data set {name}: {reason}") from error
    (_, image), (_, label) = _image_and_label(info, name)
    height, width, channels = image.shape
    height, width = image_size or height, image_size or width
    if not (height and width):
        raise InputError(f"the images of {name} differ in size: give image_size, to which they are resized")
    return (height, width, channels), label.num_classes


def absent(name: str, data_dir: Path) -> InputError:
    """The error for a name that no source has: how to prepare the set if tfds knows it, else the names that come close."""
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    base = re.split("[:/]", name)[0]
    if base not in known:
        guess = close_to(base, [*SUGGESTIONS, *known])
        return InputError(
            f"unknown data set {name!r}{guess}: expected {', '.join(SUGGESTIONS)}, any other tfds image classification"
            " set by its name, folder:PATH with one sub-folder of images a class, or shards:PATH with tar files"
        )
    missing = "" if data_dir.is_dir() else ", which does not exist"
    return AbsentDataError(
        f"data set {name} is not in data_dir {data_dir}{missing}: give the data_dir that holds {base}/, or prepare it once"
        f" by `tfds build {name} --file_format=array_record --data_dir={data_dir}` (preparing sets such as MNIST and"
        " CIFAR-10 needs `pip install tensorflow`, reading them does not)"
    )


def _newest_version(name: str, data_dir: Path) -> Path | None:
    """The folder with the dataset_info.json of the newest prepared version; it need not be the version tfds knows."""
    folder = data_dir / name.replace(":", "/")
    if (folder / "dataset_info.json").is_file():
        return folder
    infos = [info.parent for info in folder.glob("*/dataset_info.json")]
    versions = [version for version in infos if re.fullmatch(r"\d+\.\d+\.\d+", version.name)]
    return max(versions, key=lambda version: tuple(map(int, version.name.split("."))), default=None)


def _records(name: str, folder: Path, split: str) -> "_Records":
    import tensorflow_datasets as tfds

    _check_features(folder)
    with _named(folder), contextlib.redirect_stderr(io.StringIO()):  # tfds says how to install TensorFlow
        builder: Any = tfds.builder_from_directory(str(folder))
        (image_key, image), (label_key, label) = _image_and_label(builder.info, f"{name} ({folder})")
        if not 2 <= (label.num_classes or 0) <= MOST_CLASSES:
            raise InputError(f"{folder} has {label.num_classes} classes: expected 2 to {MOST_CLASSES:,}")
        classes, splits = tuple(label.names), ", ".join(builder.info.splits)
    try:
        parts = [(part.filename, part.take) for part in builder.info.splits[split].file_instructions]
    except ValueError as error:
        raise InputError(f"{name} ({folder}) has no split {split!r}: expected {splits} or a part such as train[:10%]") from error
    if not any(count for _, count in parts):
        raise InputError(f"{name} ({folder}) {split} holds no image")
    records = _Records(name, folder, split, parts, classes, (image_key, label_key), image.shape)
    records.open()
    return records


class _Records(Pictures):
    """Records of a prepared set; each process opens the files for itself.

    parts: the files of the split in their order, each with the number of its examples.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        split: str,
        parts: list[tuple[str, int]],
        classes: tuple[str, ...],
        keys: tuple[str, str],
        shape: tuple[int | None, int | None, int | None],
    ):
        self.name, self.source, self.class_names = name, f"{name} {split}", classes
        height, width, channels = shape
        self.channels, self.side = 1 if channels == 1 else 3, (height or 0) if height == width else 0
        self._folder, self._split, self._keys = folder, split, keys
        self._files, self._ends = [file for file, _ in parts], list(itertools.accumulate(count for _, count in parts))
        self.has_labels_listed = len(self) <= FEW_RECORDS
        self._opened: Any = None

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Picture:
        records = self.open()
        with _named(self._file(index)):
            example = records[index]
        return self._picture(index, example)

    def __iter__(self) -> Iterator[Picture]:
        records = self.open()
        for start in range(0, len(records), READ_AHEAD):
            numbers = range(start, min(start + READ_AHEAD, len(records)))
            try:
                examples = records.__getitems__(list(numbers))
            except Exception:  # which of the files is damaged, they tell one by one
                yield from map(self.__getitem__, numbers)
                continue
            yield from map(self._picture, numbers, examples)

    @functools.cached_property
    def labels(self) -> Int32[np.ndarray, " examples"]:
        return np.fromiter((picture.label for picture in self), np.int32, len(self))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def open(self) -> Any:
        """The records by number, undecoded. Raises: InputError if they are damaged or of another format."""
        if self._opened is None:
            import tensorflow_datasets as tfds

            try:
                # tfds would decode with OpenCV if it is there and warn if not; PIL alone is quiet and the same everywhere.
                with _named(self._folder, but=(NotImplementedError,)), contextlib.redirect_stderr(io.StringIO()):
                    builder: Any = tfds.builder_from_directory(str(self._folder))
                    decoders = {self._keys[0]: tfds.decode.SkipDecoding()}
                    self._opened = builder.as_data_source(split=self._split, decoders=decoders)
            except NotImplementedError as error:
                raise InputError(
                    f"{self._folder} holds {builder.info.file_format.value} files, expected array_record: prepare it in another "
                    f"data_dir by `tfds build {self.name} --file_format=array_record --data_dir=...`"
                ) from error
        return self._opened

    def _file(self, index: int) -> str:
        """The file of a record."""
        return self._files[bisect.bisect_right(self._ends, index)]

    def _picture(self, index: int, example: Any) -> Picture:
        image_key, label_key = self._keys
        if example[label_key] is None:  # what array_record reads behind the end of a file that was cut
            raise InputError(f"cannot read {self._file(index)}: it ends before {self.source} example {index}; {_AGAIN}")
        label, classes = int(example[label_key]), len(self.class_names)
        if label < 0:
            raise InputError(f"{self.source} has no labels (example {index} says {label}): use another split")
        if label >= classes:
            raise InputError(f"{self.source} example {index} has the label {label}: expected one of {classes} classes, from 0")
        return Picture(f"{self.source} example {index}", io.BytesIO(example[image_key]), label, FORMATS)


@contextlib.contextmanager
def _named(path: str | Path, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns any exception that tfds, protobuf and array_record raise for damaged files into an InputError."""
    try:
        yield
    except (InputError, *but):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"cannot read {path}: {reason}; {_AGAIN}") from error


def _check_features(folder: Path) -> None:
    """Raises: InputError if a JSON file of the set is damaged, or if features.json describes features other than `FEATURES`."""
    try:
        strict_json.read(folder / "dataset_info.json", {"name": str, "version": str, "splits": [{"name": str}]})
        features = strict_json.read(folder / "features.json", {})
    except FileNotFoundError as error:
        raise InputError(f"cannot read {folder}: there is no {error.filename}; {_AGAIN}") from None
    if strange := sorted(set(_feature_names(features)) - FEATURES):
        raise InputError(
            f"{folder / 'features.json'} describes {shown(strange[0])}: expected a set of images and labels, beside "
            "which there may be numbers and texts"
        )


def _feature_names(value: Any) -> Iterator[str]:
    """Names of the Python classes in a description of features, in today's form and in that of old versions."""
    if isinstance(value, list):
        for item in value:
            yield from _feature_names(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, str) and key in ("pythonClassName", "python_class_name", "type"):
                yield item
            elif isinstance(item, str) and key == "content":
                yield from _feature_names(strict_json.parsed(item))
            else:
                yield from _feature_names(item)


def _image_and_label(info: Any, name: str) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """The two features of an image classification set, each with its key. Raises: InputError if it is none."""
    import tensorflow_datasets as tfds

    keys = info.supervised_keys or ()
    image_key, label_key = keys if len(keys) == 2 and all(isinstance(key, str) for key in keys) else ("image", "label")
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    image, label = features.get(image_key), features.get(label_key)
    is_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not is_image or not isinstance(label, tfds.features.ClassLabel):
        kinds = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(features.items()))
        raise InputError(f"{name} is not an image classification set: expected a uint8 Image and a ClassLabel, got {kinds}")
    return (image_key, image), (label_key, label)
