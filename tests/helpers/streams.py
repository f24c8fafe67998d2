"""Streams of few small batches, and what they give."""

import functools

import numpy as np

from dsrna_jax import data
from dsrna_jax.data.stream import Batches, Shard, View, stream

PLAIN, CROPS, WHOLE = View(8, 3), View(8, 3, crop_area=0.08, seed=(0,)), Shard()


def batches(found, view=PLAIN, shard=WHOLE, count=6, size=4):
    order = functools.partial(data.batch_indices, batch_size=size, examples=len(found), seed=3, stream="train")
    return Batches(found, view, order, count, shard)


def drawn(source, start=0, workers=0):
    iterator = stream(source, start, workers)
    try:
        return list(iterator)
    finally:
        iterator.close()


def assert_same(one, other):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
