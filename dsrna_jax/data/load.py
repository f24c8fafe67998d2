"""Data: one split in host memory, the two halves that a search sees, and the batch of a step.

A data set is `digits` (ships with scikit-learn), any prepared tensorflow_datasets (tfds) image classification set, or
a folder of images with one sub-folder a class. Reading needs no TensorFlow.
"""

import dataclasses
import difflib
import functools
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dsrna_jax.errors import AbsentDataError, InputError

MEMORY_LIMIT = 8 * 2**30  # bytes of one split
IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SUGGESTIONS = ("digits", "mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped")

_READ_AHEAD = 1024  # tfds records fetched at once: three times faster than one by one


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """One split: `images` uint8 [examples, height, width, channels], `labels` int32 [examples] into `class_names`."""

    name: str
    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        return self.images.shape[1:]


def load(name: str, split: str, data_dir: str | None = None, image_size: int = 0) -> Dataset:
    """A whole split of a data set; the same arguments give the same arrays.

    Args:
      name: `digits`; a tfds name such as `cifar10`, `cifar10_corrupted/fog_1` or `mnist:3.0.1`; `folder:PATH`, or the
        path of a folder. A prepared tfds set wins over a folder of the same name.
      split: `train` or `test`, which never overlap. For tfds any split or part of one (`train[:10%]`). With
        PATH/train/<class>/ it names the sub-folder of PATH; folders without one, and `digits`, are split by a fixed
        rule: one example in five of every class is `test`.
      data_dir: where tfds sets lie; by default $TFDS_DATA_DIR, else ~/tensorflow_datasets.
      image_size: resize to a square of this side, bilinear, aspect ratio not kept; 0 keeps the size. Grey images keep
        one channel, unless colour ones lie beside them; palettes and transparency become RGB.

    Raises: InputError if the data set is unknown, absent (AbsentDataError), too large for memory, unreadable, or of
      unequal image sizes.
    """
    if image_size < 0:
        raise InputError(f"image_size must be 0 (as it is) or a side in pixels, got {image_size}")
    if name == "digits":
        return _digits(split, image_size)
    if name.startswith("folder:"):
        return _folder(name, Path(name.removeprefix("folder:")).expanduser(), split, image_size)
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    prepared = _prepared_folder(name, root)
    if prepared is not None:
        try:
            return _tfds(name, prepared, split, image_size)
        except RuntimeError as error:  # what array_record raises for a file that is missing or cut short
            reason = " ".join(str(error).split())
            raise InputError(f"cannot read {prepared}: {reason}; copy or prepare the data set again") from error
    if name and Path(name).expanduser().is_dir():
        return _folder(name, Path(name).expanduser(), split, image_size)
    raise _absent(name, root)


def published_shape(name: str, image_size: int = 0) -> tuple[tuple[int, int, int], int]:
    """Image shape (height, width, channels) and number of classes of a tfds set, by its definition: it need not be prepared.

    Raises: InputError if the set is no image classification set, or its images differ in size and `image_size` is 0.
    """
    import tensorflow_datasets as tfds

    (_, image), (_, label) = _image_and_label(tfds.builder(name, data_dir=os.devnull).info, name)
    height, width, colours = image.shape
    height, width = image_size or height, image_size or width
    if not (height and width):
        raise InputError(f"the images of {name} differ in size: give image_size, to which they are resized")
    return (height, width, colours), label.num_classes


def search_halves(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Disjoint int32 indices (search_train, search_val), each ascending, that together cover `labels` [examples].

    Every class is halved, to within one example; an odd example out goes to search_train. DARTS halves without regard
    to class, which can leave a class of a small set out of a half.
    """
    order = _order_by_class(labels, seed)
    return np.sort(order[::2]), np.sort(order[1::2])


def stratified_shares(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Disjoint int32 indices (part, rest), each ascending, that together cover `labels` [examples].

    `part` has that share of every class, rounded down to whole examples.
    """
    order = _order_by_class(labels, seed)
    rank = np.concatenate([np.arange(count) for count in np.unique(labels, return_counts=True)[1]])
    sizes = np.bincount(labels)[np.asarray(labels)[order]]
    chosen = rank < np.floor(share * sizes + 1e-9)
    return np.sort(order[chosen]), np.sort(order[~chosen])


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Whole batches in one pass over `examples`. Raises: InputError if not even one fits."""
    if not 1 <= batch_size <= examples:
        raise InputError(f"batch_size must be between 1 and the number of examples, {examples}, got {batch_size}")
    return examples // batch_size


def batch_indices(step: int, batch_size: int, examples: int, seed: int, stream: int | str) -> np.ndarray:
    """Indices int32 [batch_size] into `examples` of batch number `step`, a pure function of its arguments.

    Each epoch walks a fresh permutation and drops the last, partial batch. Streams (`"search_train"`, `"search_val"`)
    are independent. The array is read-only. Raises: InputError if the batch is larger than the examples.
    """
    epoch, position = divmod(int(step), batches_per_epoch(examples, batch_size))
    order = _epoch_order(examples, seed, stream, epoch)
    return order[position * batch_size : (position + 1) * batch_size]


@functools.lru_cache(maxsize=8)
def _epoch_order(examples: int, seed: int, stream: int | str, epoch: int) -> np.ndarray:
    number = zlib.crc32(stream.encode()) if isinstance(stream, str) else stream  # hash() differs between processes
    order = np.random.default_rng((seed, number, epoch)).permutation(examples).astype(np.int32)
    order.setflags(write=False)
    return order


def _order_by_class(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order within each class, class after class: every k-th of it is a stratified share."""
    labels = np.asarray(labels)
    order = np.random.default_rng(seed).permutation(len(labels)).astype(np.int32)
    return order[np.argsort(labels[order], kind="stable")]


def _own_split(labels: np.ndarray, split: str) -> np.ndarray:
    """Indices of our fixed split, for sets that come without one: every fifth example of each class is test."""
    if split not in ("train", "test"):
        raise InputError(f"expected split train or test, got {split!r}")
    order = _order_by_class(labels, seed=0)
    test = order[::5]
    return np.sort(test if split == "test" else np.setdiff1d(order, test))


def _digits(split: str, image_size: int) -> Dataset:
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = _own_split(digits.target, split)
    images = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)  # pixels are 0..16
    if image_size:
        images = np.stack([_squared(Image.fromarray(image), image_size) for image in images])
    return Dataset("digits", images[..., None], digits.target[chosen].astype(np.int32), tuple("0123456789"))


def _folder(name: str, path: Path, split: str, image_size: int) -> Dataset:
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
        chosen = [every[index] for index in _own_split(np.array([label for _, label in every]), split)]
    pictures = ((str(file), file, label) for file, label in chosen)
    return Dataset(name, *_stacked(pictures, len(chosen), image_size, str(path)), tuple(classes))


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
        found = f"only {next(iter(classes))}" if classes else "none"
        raise InputError(f"expected two or more sub-folders of images in {path}, one a class, but found {found}")
    if empty := [kind for kind, files in classes.items() if not files]:
        expected = " ".join(IMAGE_SUFFIXES)
        raise InputError(f"class folder {path / empty[0]} holds no image: remove it or add files ({expected})")
    return classes


def _prepared_folder(name: str, root: Path) -> Path | None:
    """The folder with the dataset_info.json of the newest prepared version; it need not be the version tfds knows."""
    folder = root / name.replace(":", "/")
    if (folder / "dataset_info.json").is_file():
        return folder
    prepared = [info.parent for info in folder.glob("*/dataset_info.json")]
    versions = [version for version in prepared if re.fullmatch(r"\d+\.\d+\.\d+", version.name)]
    return max(versions, key=lambda version: tuple(map(int, version.name.split("."))), default=None)


def _absent(name: str, root: Path) -> InputError:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    base = re.split("[:/]", name)[0]
    if base not in known:
        close = difflib.get_close_matches(base, [*SUGGESTIONS, *known], n=3)
        guess = f" (did you mean {' or '.join(dict.fromkeys(close))}?)" if close else ""
        return InputError(
            f"unknown data set {name!r}{guess}: expected {', '.join(SUGGESTIONS)}, any other tfds image classification"
            " set by its name, or folder:PATH with one sub-folder of images a class"
        )
    missing = "" if root.is_dir() else ", which does not exist"
    return AbsentDataError(
        f"data set {name} is not in data_dir {root}{missing}: give the data_dir that holds {base}/, or prepare it once"
        f" by `tfds build {name} --file_format=array_record --data_dir={root}` (preparing sets such as MNIST and"
        " CIFAR-10 needs `pip install tensorflow`, reading them does not)"
    )


def _image_and_label(info, name: str):
    """The two features of an image classification set, each with its key. Raises: InputError if it is none."""
    import tensorflow_datasets as tfds

    keys = info.supervised_keys or ()
    image_key, label_key = keys if len(keys) == 2 and all(isinstance(key, str) for key in keys) else ("image", "label")
    features = dict(info.features.items()) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    image, label = features.get(image_key), features.get(label_key)
    is_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not is_image or not isinstance(label, tfds.features.ClassLabel):
        found = ", ".join(f"{key} ({type(feature).__name__})" for key, feature in sorted(features.items()))
        raise InputError(f"{name} is no image classification set: expected a uint8 Image and a ClassLabel, got {found}")
    return (image_key, image), (label_key, label)


def _tfds(name: str, folder: Path, split: str, image_size: int) -> Dataset:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder))
    (image_key, _), (label_key, label) = _image_and_label(builder.info, name)
    try:
        # tfds would decode with OpenCV if it is there and warn if not; PIL alone is quiet and the same everywhere.
        source = builder.as_data_source(split=split, decoders={image_key: tfds.decode.SkipDecoding()})
    except NotImplementedError as error:
        found = builder.info.file_format.value
        raise InputError(
            f"{folder} holds {found} files, expected array_record: prepare it in another data_dir by"
            f" `tfds build {name} --file_format=array_record --data_dir=...`"
        ) from error
    except ValueError as error:
        splits = ", ".join(builder.info.splits)
        raise InputError(f"{name} has no split {split!r}: expected {splits} or a part such as train[:10%]") from error
    pictures = _tfds_pictures(source, image_key, label_key, f"{name} {split}")
    return Dataset(name, *_stacked(pictures, len(source), image_size, f"{name} {split}"), tuple(label.names))


def _tfds_pictures(source: Any, image_key: str, label_key: str, what: str) -> Iterator[tuple[str, io.BytesIO, int]]:
    for start in range(0, len(source), _READ_AHEAD):
        examples = source.__getitems__(list(range(start, min(start + _READ_AHEAD, len(source)))))
        for index, example in enumerate(examples, start):
            if example[label_key] < 0:
                raise InputError(f"{what} has no labels (example {index} says {example[label_key]}): use another split")
            yield f"{what} example {index}", io.BytesIO(example[image_key]), example[label_key]


def _stacked(
    pictures: Iterable[tuple[str, Path | io.BytesIO, int]], count: int, image_size: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of `count` pictures, each (where it is from, the encoded file, label)."""
    if count == 0:
        raise InputError(f"{what} holds no image")
    labels = np.empty(count, np.int32)
    for position, (origin, file, label) in enumerate(pictures):
        pixels = _decoded(file, origin, image_size)
        if position == 0:
            first, (height, width, _) = origin, pixels.shape
            images = _allocated((count, *pixels.shape), what)
        if pixels.shape[:2] != (height, width):
            raise InputError(
                f"images of {what} differ in size: {first} is {width}x{height},"
                f" {origin} is {pixels.shape[1]}x{pixels.shape[0]} (width x height);"
                " give an image_size, to which all are resized, for example image_size=32"
            )
        if pixels.shape[2] > images.shape[3]:  # the first colour image after grey ones
            grey, images = images, _allocated((*images.shape[:3], 3), what)
            images[:position] = grey[:position]
        images[position], labels[position] = pixels, label
    return images, labels


def _allocated(shape: tuple[int, ...], what: str) -> np.ndarray:
    count, height, width, channels = shape
    if (size := count * height * width * channels) > MEMORY_LIMIT:
        raise InputError(
            f"{what} needs {size / 2**30:.1f} GiB of memory ({count} images, {width}x{height}x{channels}), more than"
            f" the limit of {MEMORY_LIMIT / 2**30:.1f} GiB: give a smaller image_size, or use fewer images"
        )
    return np.empty(shape, np.uint8)


def _decoded(file: Path | io.BytesIO, origin: str, image_size: int) -> np.ndarray:
    """uint8 [height, width, 1 or 3]."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and more for a broken file
        raise InputError(f"cannot read the image {origin}: {error}; replace or remove it") from error
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{origin} has more than 8 bits a channel (mode {image.mode}): convert it to 8 bits")
    if image.mode == "P":
        image = image.convert("RGBA")  # a palette may hold transparency, which RGB alone warns about
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    pixels = _squared(image if image.mode == mode else image.convert(mode), image_size)
    return pixels.reshape(*pixels.shape[:2], -1)


def _squared(image: Any, side: int) -> np.ndarray:
    from PIL import Image

    resized = image.resize((side, side), Image.Resampling.BILINEAR) if side and image.size != (side, side) else image
    return np.asarray(resized)
