"""Streams of batches, decoded by grain when they are needed: on threads of this process, or on processes of their own.

A batch is a pure function of its number: the only state of a stream is the number of the next batch.
"""

import dataclasses
import gc
import signal
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32, UInt8

from dsrna_jax.data.decoding import as_viewed, decoded
from dsrna_jax.data.framing import random_resized_crop
from dsrna_jax.data.pictures import Pictures
from dsrna_jax.errors import InputError
from dsrna_jax.parent import end_with_spawner

THREADS = 16  # that decode a batch each, where no processes do
AHEAD = 2  # batches that are placed before they are needed


class HostBatch(NamedTuple):
    """Decoded images of a batch, or of one host's share of it, in host memory."""

    images: UInt8[np.ndarray, "batch height width channels"]
    labels: Int32[np.ndarray, " batch"]


class Shard(NamedTuple):
    """One of `count` hosts that share each batch: it has the `index`-th of as many equal stretches."""

    index: int = 0
    count: int = 1

    def of(self, batch: Int[np.ndarray, " batch"]) -> Int[np.ndarray, " share"]:
        """The host's share of a batch. Raises: InputError if the batch does not divide."""
        if len(batch) % self.count:
            raise InputError(f"batch_size={len(batch)} does not divide among {self.count} hosts: expected a multiple of it")
        return np.split(batch, self.count)[self.index]


@dataclasses.dataclass(frozen=True)
class View:
    """The part of a picture that a network gets, as uint8 [side, side, channels].

    center_crop: as in `decoding.decoded`.
    crop_area: least share of the area that a random crop has; 1 for no random crop.
    seed: of the random crops.
    """

    side: int
    channels: int
    center_crop: float = 0.0
    crop_area: float = 1.0
    seed: tuple[int, ...] = ()

    def cropped(self, crop_area: float, seed: tuple[int, ...]) -> "View":
        """This view with random crops."""
        return dataclasses.replace(self, crop_area=crop_area, seed=seed)

    def pixels(self, pictures: Pictures, index: int, place: int) -> tuple[UInt8[np.ndarray, "height width channels"], int]:
        """Pixels and label of picture number `index`; a random crop is drawn by `place`, its number in the whole stream.

        Raises: InputError if the picture cannot be decoded, or is coloured in a set of grey ones.
        """
        picture = pictures[index]
        if self.crop_area < 1:
            rng = np.random.default_rng((*self.seed, place))
            image = np.asarray(random_resized_crop(as_viewed(picture), self.side, self.crop_area, rng))
            image = image.reshape(*image.shape[:2], -1)
        else:
            image = decoded(picture, self.side, self.center_crop)
        if image.shape[2] > self.channels:
            raise InputError(f"{picture.origin} is coloured, in a set of grey images: expected one channel")
        return np.broadcast_to(image, (*image.shape[:2], self.channels)), picture.label


@dataclasses.dataclass(frozen=True)
class Batches(Sequence):
    """The batches of one host by number, decoded at access: a source for grain.

    indices_of: number of a batch -> indices of its pictures [batch], the same on every host.
    """

    pictures: Pictures
    view: View
    indices_of: Callable[[int], Int[np.ndarray, " batch"]]
    count: int
    shard: Shard = Shard()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, step: Any) -> HostBatch:
        indices = self.indices_of(step)
        places = self.shard.of(step * len(indices) + np.arange(len(indices)))
        chosen = zip(self.shard.of(indices), places, strict=True)
        images, labels = zip(*(self.view.pixels(self.pictures, int(i), int(place)) for i, place in chosen), strict=True)
        return HostBatch(np.stack(images), np.array(labels, np.int32))


class Stream:
    """An iterator over batches that are decoded ahead. `close` ends its threads and processes."""

    def __init__(self, iterator: Any, workers: int):
        self._iterator: Any = iterator
        self._workers = workers

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Any:
        """The next batch. Raises: InputError if an image cannot be read, or if a process that decodes was ended."""
        try:
            return next(self._iterator)
        except RuntimeError as error:
            if "Worker process was terminated" not in str(error):
                raise
            raise InputError(
                f"a process that decodes images was ended ({' '.join(str(error).split())[:80]}), perhaps for want of memory: "
                "give fewer --workers"
            ) from error

    def close(self) -> None:
        """Ends what decodes ahead; afterwards there is no next batch."""
        self._iterator.close()
        self._iterator = iter(())
        if self._workers:
            gc.collect()  # frees the semaphores of processes, which are in cycles, before this process ends


def stream(
    batches: Batches,
    start: int = 0,
    workers: int = 0,
    place: Callable[[HostBatch], Any] | None = None,
    again: bool = False,
) -> Stream:
    """The batches from number `start` on.

    Args:
      workers: number of processes that decode, each a batch at a time, at most one for each batch; 0 for threads of this process.
      place: moves a batch to where it is used, in a thread, while the one before is in use.
      again: whether the first batch follows the last, without end.
    """
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain reads absl flags of its own, which our commands do not parse
        flags.FLAGS.mark_as_parsed()
    grain.config.update("py_traceback_filtering", "off")  # it would add a remark about itself to the messages of errors
    workers, threads = (min(most, len(batches)) for most in (workers, 1 if workers else THREADS))
    processes = grain.multiprocessing.MultiprocessingOptions(num_workers=workers)
    numbered = grain.MapDataset.source(batches)
    numbered = numbered.repeat() if again else numbered
    decoded = numbered[start:].to_iter_dataset(grain.ReadOptions(threads, threads)).mp_prefetch(processes, _begin_worker)
    if place is not None:
        decoded = grain.experimental.ThreadPrefetchIterDataset(decoded.map(place), prefetch_buffer_size=AHEAD)
    return Stream(iter(decoded), workers)


def _begin_worker(worker: int, workers: int) -> None:
    """Makes a process that decodes end when its parent does, and not by signals that terminals and Slurm send to all."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=end_with_spawner, daemon=True).start()


def stream_seed(seed: int, part: str) -> tuple[int, int]:
    """The seed of the crops in the stream of a part."""
    return seed, zlib.crc32(part.encode())
