"""Feeds, which give a run its batches: indices into data on the devices, or images of a stream."""

import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from dsrna_jax.data.batches import RepeatedTail
from dsrna_jax.data.loading import StreamedDataset
from dsrna_jax.data.stream import Batches, HostBatch, Shard, stream, stream_seed
from dsrna_jax.errors import InputError
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.device_data import StreamedBatch
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.setup import RunSetup
from dsrna_jax.runtime.working_time import working_time


class Feed(ABC):
    """The batches of a run by number: the argument `batch` of its programs."""

    def __init__(self, setup: RunSetup, mesh: Mesh):
        self._setup, self._mesh = setup, mesh

    @abstractmethod
    def batch(self, part: str, step: int) -> Any:
        """Batch number `step` of a part of the training split."""

    @abstractmethod
    def evaluation(self, part: str) -> Generator[tuple[Any, jax.Array], None, None]:
        """Yields all images of a part, without augmentation, in batches of equal size, each with a mask of those that count."""

    @property
    def columns(self) -> dict[str, Any]:
        """Columns of the progress line."""
        return {}

    def close(self) -> None:  # noqa: B027
        """Ends threads and processes that prepare batches; here there are none."""

    def put(self, values: np.ndarray) -> jax.Array:
        """Values of a batch, one for each of its images, split over the devices."""
        return sharding.placed(values, sharding.split(self._mesh))

    def _order(self, part: str) -> RepeatedTail:
        return RepeatedTail(self._setup.parts[part], self._setup.config.batch_size)


class MemoryFeed(Feed):
    """A feed of indices into `DeviceData`, which every device gets for the whole batch."""

    def batch(self, part: str, step: int) -> jax.Array:
        return self._everywhere(self._setup.batch(part, step))

    def evaluation(self, part: str) -> Generator[tuple[jax.Array, jax.Array], None, None]:
        order = self._order(part)
        return ((self._everywhere(order(number)), self.put(order.counts(number))) for number in range(len(order)))

    def _everywhere(self, indices: np.ndarray) -> jax.Array:
        return sharding.placed(indices, sharding.replicated(self._mesh))


class StreamFeed(Feed):
    """A feed of images and labels, decoded and put on the devices while the step before is computed.

    Each part has its own stream. Hosts decode their share of each batch.
    """

    def __init__(self, setup: RunSetup, mesh: Mesh):
        super().__init__(setup, mesh)
        assert isinstance(setup.dataset, StreamedDataset)
        self._dataset, self._shard = setup.dataset, Shard(jax.process_index(), jax.process_count())
        self._streams: dict[str, tuple[int, Any]] = {}  # by part: the number of the next batch, and the iterator that has it
        self._meter = Meter()

    def batch(self, part: str, step: int) -> StreamedBatch:
        following, iterator = self._streams.pop(part, (step, None))
        if iterator is None or following != step:
            if iterator is not None:
                iterator.close()
            iterator = self._stream(self._training_batches(part), step)
        self._streams[part] = (step + 1, iterator)
        with self._meter.waiting(self._setup.config.batch_size):
            return _next(iterator)

    def evaluation(self, part: str) -> Generator[tuple[StreamedBatch, jax.Array], None, None]:
        order, view = self._order(part), self._dataset.view
        iterator = self._stream(Batches(self._dataset.pictures, view, order, len(order), self._shard), 0)
        try:
            for number in range(len(order)):
                yield _next(iterator), self.put(order.counts(number))
        finally:
            iterator.close()
            self._meter.forget()

    @property
    def columns(self) -> dict[str, Any]:
        return self._meter.columns

    def close(self) -> None:
        for _, iterator in self._streams.values():
            iterator.close()
        self._streams = {}

    def _training_batches(self, part: str) -> Batches:
        setup, config = self._setup, self._setup.config
        view = self._dataset.view.cropped(config.crop_area, stream_seed(config.seed, part))
        count = config.epochs * setup.steps_per_epoch
        return Batches(self._dataset.pictures, view, setup.batches(part), count, self._shard)

    def _stream(self, batches: Batches, start: int) -> Any:
        return stream(batches, start, self._setup.config.workers, self._placed)

    def _placed(self, batch: HostBatch) -> StreamedBatch:
        """This host's share of a batch, on its devices, as part of the whole."""
        split = sharding.split(self._mesh)
        return StreamedBatch(*(jax.make_array_from_process_local_data(split, values) for values in batch))


def _next(iterator: Iterator[StreamedBatch]) -> StreamedBatch:
    """The next batch of a stream, when all processes have theirs: so none begins a step that another cannot take.

    Raises: InputError, in all of them, if one cannot read it.
    """
    try:
        batch, error = next(iterator), None
    except InputError as failure:
        batch, error = None, failure
    current().fail_together(error)
    assert batch is not None
    return batch


def feed(setup: RunSetup, mesh: Mesh) -> Feed:
    """The feed of a run."""
    return StreamFeed(setup, mesh) if setup.is_streamed else MemoryFeed(setup, mesh)


class Meter:
    """Images a second, and the share of the time spent waiting for them, over about the last minute."""

    def __init__(self, clock: Callable[[], float] = working_time):
        self._clock = clock
        self._images, self._waited = 0, 0.0
        self._marks: deque[tuple[float, int, float]] = deque(maxlen=60)  # (time, images, seconds waited), a second apart or more

    @contextlib.contextmanager
    def waiting(self, images: int) -> Iterator[None]:
        """Counts the time of the block as waiting for `images`, except the first time, when a stream begins."""
        began = self._clock()
        yield
        now = self._clock()
        if self._marks:
            self._images, self._waited = self._images + images, self._waited + now - began
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, self._images, self._waited))

    def forget(self) -> None:
        """Starts anew, after a pause that is no waiting."""
        self._marks.clear()

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the progress line; empty in the first second."""
        if len(self._marks) < 2:
            return {}
        (then, before, idle), (now, images, waited) = self._marks[0], self._marks[-1]
        return {
            "images/s": f"{(images - before) / (now - then):,.0f}",
            "waiting": f"{100 * (waited - idle) / (now - then):.0f} %",
        }
