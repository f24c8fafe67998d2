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
from dsrna_jax.runtime.working_time import PausableClock, working_time


class Feed(ABC):
    """The batches of a run by number: the argument `batch` of its programs."""

    def __init__(self, setup: RunSetup, mesh: Mesh):
        self._setup, self._mesh = setup, mesh

    @abstractmethod
    def batch(self, part: str, step: int, cycle: int = 0) -> Any:
        """Batch number `step` of a part of the training split.

        Args: cycle: number of batches that the caller goes through again and again; 0 if it never returns to the first.
        """

    @abstractmethod
    def evaluation(self, part: str, again: bool = False) -> Generator[tuple[Any, jax.Array], None, None]:
        """Yields all images of a part, without augmentation, in batches of equal size, each with a mask of those that count.

        Args: again: whether the caller soon goes through them again.
        """

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

    def batch(self, part: str, step: int, cycle: int = 0) -> jax.Array:
        return self._everywhere(self._setup.batch(part, step))

    def evaluation(self, part: str, again: bool = False) -> Generator[tuple[jax.Array, jax.Array], None, None]:
        order = self._order(part)
        return ((self._everywhere(order(number)), self.put(order.counts(number))) for number in range(len(order)))

    def _everywhere(self, indices: np.ndarray) -> jax.Array:
        return sharding.placed(indices, sharding.replicated(self._mesh))


class StreamFeed(Feed):
    """A feed of images and labels, decoded and put on the devices while the step before is computed.

    Each part has its own stream, which stays open as long as its batches are asked for in order, again and again if they are
    a cycle. Hosts decode their share of each batch.
    """

    def __init__(self, setup: RunSetup, mesh: Mesh):
        super().__init__(setup, mesh)
        assert isinstance(setup.dataset, StreamedDataset)
        self._dataset, self._shard = setup.dataset, Shard(jax.process_index(), jax.process_count())
        self._streams: dict[str, tuple[int, Any]] = {}  # by name: the number of the next batch, and the iterator that has it
        self._meter = Meter()

    def batch(self, part: str, step: int, cycle: int = 0) -> StreamedBatch:
        setup, config = self._setup, self._setup.config
        view = self._dataset.view.cropped(config.crop_area, stream_seed(config.seed, part))
        count = cycle or config.epochs * setup.steps_per_epoch
        batches = Batches(self._dataset.pictures, view, setup.batches(part), count, self._shard)
        iterator = self._stream(part, step, batches, again=bool(cycle))
        with self._meter.waiting(config.batch_size):
            return _next(iterator)

    def evaluation(self, part: str, again: bool = False) -> Generator[tuple[StreamedBatch, jax.Array], None, None]:
        order, name = self._order(part), f"{part} in order"
        batches = Batches(self._dataset.pictures, self._dataset.view, order, len(order), self._shard)
        try:
            with self._meter.paused():
                for number in range(len(order)):
                    yield _next(self._stream(name, number, batches, again)), self.put(order.counts(number))
        finally:
            if not again:
                self._close(name)

    @property
    def columns(self) -> dict[str, Any]:
        return self._meter.columns

    def close(self) -> None:
        for name in list(self._streams):
            self._close(name)

    def _close(self, name: str) -> None:
        if name in self._streams:
            self._streams.pop(name)[1].close()

    def _stream(self, name: str, number: int, batches: Batches, again: bool) -> Any:
        """The stream of that name, whose next batch is `number`: the one that is open, if it has come there, or a new one."""
        if self._streams.get(name, (None,))[0] != number:
            self._close(name)
            self._streams[name] = (number, stream(batches, number, self._setup.config.workers, self._placed, again))
        iterator = self._streams[name][1]
        self._streams[name] = ((number + 1) % len(batches) if again else number + 1, iterator)
        return iterator

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
    """Images a second, and the share of the time spent waiting for them, over about the last minute outside of pauses."""

    def __init__(self, clock: Callable[[], float] = working_time):
        self._clock = PausableClock(clock)
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

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Does not count the time that the block takes, in which images come from elsewhere, as those that are evaluated."""
        return self._clock.paused()

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
