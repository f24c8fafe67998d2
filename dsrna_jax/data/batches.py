"""Batches by number: the examples of every step are a pure function of the seed."""

import dataclasses
import functools
import zlib

import numpy as np
from jaxtyping import Bool, Int, Int32

from dsrna_jax.errors import InputError


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Whole batches in one pass over `examples`. Raises: InputError if not even one fits."""
    if not 1 <= batch_size <= examples:
        raise InputError(f"batch_size must be between 1 and the number of examples, {examples}, got {batch_size}")
    return examples // batch_size


def batch_indices(step: int, batch_size: int, examples: int, seed: int, stream: int | str) -> Int32[np.ndarray, " batch_size"]:
    """Indices into `examples` of batch number `step`, a pure function of its arguments.

    Each epoch walks a fresh permutation and drops the last, partial batch. Streams (`"search_train"`, `"search_val"`)
    are independent. The array is read-only. Raises: InputError if the batch is larger than the examples, or `step` less than 0.
    """
    if step < 0:
        raise InputError(f"step={step}: expected the number of a batch, at least 0")
    epoch, position = divmod(int(step), batches_per_epoch(examples, batch_size))
    order = _epoch_order(examples, seed, stream, epoch)
    return order[position * batch_size : (position + 1) * batch_size]


@dataclasses.dataclass(frozen=True, eq=False)
class ShuffledBatches:
    """Number of a batch -> its examples, among `indices`, by `batch_indices` with the name of the part as stream."""

    indices: Int[np.ndarray, " part"]
    batch_size: int
    seed: int
    part: str

    def __call__(self, step: int) -> Int[np.ndarray, " batch"]:
        return self.indices[batch_indices(step, self.batch_size, len(self.indices), self.seed, self.part)]


@dataclasses.dataclass(frozen=True, eq=False)
class RepeatedTail:
    """Number of a batch -> its examples, of `indices` in their order; the last batch is padded by repetitions."""

    indices: Int[np.ndarray, " part"]
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __call__(self, number: int) -> Int32[np.ndarray, " batch"]:
        return np.resize(self._part(number), self.batch_size).astype(np.int32)

    def counts(self, number: int) -> Bool[np.ndarray, " batch"]:
        """Mask of the examples of a batch that count: all except repetitions."""
        return np.arange(self.batch_size) < len(self._part(number))

    def _part(self, number: int) -> Int[np.ndarray, " some"]:
        return self.indices[number * self.batch_size : (number + 1) * self.batch_size]


@functools.lru_cache(maxsize=8)
def _epoch_order(examples: int, seed: int, stream: int | str, epoch: int) -> Int32[np.ndarray, " examples"]:
    number = zlib.crc32(stream.encode()) if isinstance(stream, str) else stream  # hash() differs between processes
    order = np.random.default_rng((seed, number, epoch)).permutation(examples).astype(np.int32)
    order.setflags(write=False)
    return order
