"""Halves partition, and batches are a pure function of their arguments."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsrna_jax import data
from dsrna_jax.data.splits import search_parts
from dsrna_jax.errors import InputError


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=60), st.integers(0, 5))
def test_search_halves_partition_train_and_halve_every_class(labels, seed):
    labels = np.array(labels, np.int32)
    search_train, search_val = data.search_halves(labels, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([search_train, search_val])), np.arange(len(labels)))
    assert 0 <= len(search_train) - len(search_val) <= 1
    difference = np.bincount(labels[search_train], minlength=5) - np.bincount(labels[search_val], minlength=5)
    assert np.abs(difference).max() <= 1
    odd = difference[difference != 0]
    np.testing.assert_array_equal(odd, 1 - 2 * (np.arange(len(odd)) % 2))  # in turn
    np.testing.assert_array_equal(search_train, data.search_halves(labels, seed)[0])


@pytest.mark.parametrize("shares", [(1.0, 0.5), (0.6, 0.6), (-0.1, 0.5), (0.5, -0.1), (np.nan, 0.5)])
def test_shares_that_overlap_or_are_none_are_refused_in_one_line(shares):
    with pytest.raises(InputError, match=r"^train_share=.*, val_share=.*: expected at least 0, and at most 1 in sum$"):
        search_parts(np.arange(8) % 2, *shares)


@pytest.mark.parametrize(
    ("shares", "sizes"), [((1.0, 0.0), (8, 0)), ((0.0, 1.0), (0, 8)), ((0.75, 0.25), (6, 2)), ((0.0, 0.0), (0, 0))]
)
def test_shares_may_be_all_or_nothing(shares, sizes):
    assert tuple(map(len, search_parts(np.arange(8) % 2, *shares))) == sizes


def test_search_halves_depend_on_the_seed():
    labels = np.zeros(100, np.int32)
    assert set(data.search_halves(labels, 0)[0]) != set(data.search_halves(labels, 1)[0])


@settings(deadline=None)
@given(st.integers(1, 40), st.data())
def test_an_epoch_of_batches_meets_no_example_twice_and_drops_only_the_rest(examples, draw):
    batch_size = draw.draw(st.integers(1, examples))
    epoch = draw.draw(st.integers(0, 3))
    steps = data.batches_per_epoch(examples, batch_size)
    batches = [data.batch_indices(epoch * steps + i, batch_size, examples, 0, "search_train") for i in range(steps)]
    met = np.concatenate(batches)
    assert all(batch.shape == (batch_size,) and batch.dtype == np.int32 for batch in batches)
    assert len(set(met.tolist())) == len(met) == examples - examples % batch_size
    assert met.min() >= 0 and met.max() < examples


def test_batches_differ_between_epochs_streams_and_seeds():
    base = (10, 100, 0, "search_train")
    batch = data.batch_indices(3, *base)
    for other in (
        data.batch_indices(3 + 10, *base),
        data.batch_indices(4, *base),
        data.batch_indices(3, 10, 100, 1, "search_train"),
        data.batch_indices(3, 10, 100, 0, "search_val"),
        data.batch_indices(3, 10, 100, 0, 7),
    ):
        assert not np.array_equal(batch, other)


def test_batches_depend_on_the_arguments_only_not_on_the_process_or_on_calls_before():
    script = "from dsrna_jax import data; print(data.batch_indices(25, 5, 23, 4, 'search_val').tolist())"
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    for step in (0, 31, 25):
        batch = data.batch_indices(step, 5, 23, 4, "search_val")
    assert done.stdout == f"{batch.tolist()}\n"


def test_a_batch_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="read-only"):
        data.batch_indices(0, 2, 4, 0, 0)[0] = 1


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_larger_than_the_examples_or_empty_is_refused(batch_size):
    with pytest.raises(InputError, match=f"between 1 and the number of examples, 10, got {batch_size}"):
        data.batch_indices(0, batch_size, 10, 0, "search_val")


def test_batches_before_the_first_are_refused_in_one_line():
    with pytest.raises(InputError, match="^step=-1: expected the number of a batch, at least 0$"):
        data.batch_indices(-1, 2, 4, 0, "search_train")
