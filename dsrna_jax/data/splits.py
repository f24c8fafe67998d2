"""Stratified parts of a data set: the two halves of a search, held-out shares, the test part of sets that come without one."""

import numpy as np
from jaxtyping import Int, Int32

from dsrna_jax.errors import InputError


def search_halves(
    labels: Int[np.ndarray, " examples"], seed: int = 0
) -> tuple[Int32[np.ndarray, " search_train"], Int32[np.ndarray, " search_val"]]:
    """Disjoint indices (search_train, search_val), each ascending, that together cover `labels`.

    Every class is halved, to within one example. Of classes with an odd number of examples, in ascending order, the first has one
    more in search_train, the next in search_val, and so on in turn. DARTS halves without regard to class, which can leave a
    class of a small set out of a half.
    """
    order = _order_by_class(labels, seed)
    return np.sort(order[::2]), np.sort(order[1::2])


def search_parts(
    labels: Int[np.ndarray, " examples"], train_share: float = 0.5, val_share: float = 0.5, seed: int = 0
) -> tuple[Int32[np.ndarray, " search_train"], Int32[np.ndarray, " search_val"]]:
    """Disjoint ascending indices (search_train, search_val) with those shares of every class; halves are `search_halves`.

    Raises: InputError unless shares are at least 0 and at most 1 in sum.
    """
    if not (train_share >= 0 and val_share >= 0 and train_share + val_share <= 1 + 1e-9):
        raise InputError(f"train_share={train_share}, val_share={val_share}: expected at least 0, and at most 1 in sum")
    if train_share == val_share == 0.5:
        return search_halves(labels, seed)
    train, rest = stratified_shares(labels, train_share, seed)
    val, _ = stratified_shares(labels[rest], min(val_share / max(1 - train_share, 1e-9), 1), seed)
    return train, rest[val]


def stratified_shares(
    labels: Int[np.ndarray, " examples"], share: float, seed: int = 0
) -> tuple[Int32[np.ndarray, " part"], Int32[np.ndarray, " rest"]]:
    """Disjoint indices (part, rest), each ascending, that together cover `labels`.

    `part` has that share, in [0, 1], of every class, rounded down to whole examples. Raises: InputError if it is not.
    """
    if not 0 <= share <= 1:
        raise InputError(f"share={share}: expected one from 0 to 1")
    order = _order_by_class(labels, seed)
    rank = np.concatenate([np.arange(0), *map(np.arange, np.unique(labels, return_counts=True)[1])])
    sizes = np.bincount(labels)[np.asarray(labels)[order]]
    chosen = rank < np.floor(share * sizes + 1e-9)
    return np.sort(order[chosen]), np.sort(order[~chosen])


def fixed_split(labels: Int[np.ndarray, " examples"], split: str) -> Int32[np.ndarray, " part"]:
    """Ascending indices of `train` or `test` for sets that come without a split: one example in five is test.

    So it is in each class, to within one example. Raises: InputError if `split` is neither.
    """
    if split not in ("train", "test"):
        raise InputError(f"expected split train or test, got {split!r}")
    order = _order_by_class(labels, seed=0)
    test = order[::5]
    return np.sort(test if split == "test" else np.setdiff1d(order, test))


def interleaved_classes(labels: Int[np.ndarray, " examples"]) -> Int32[np.ndarray, " examples"]:
    """A fixed random order, of which every stretch has its share of each class, to within one example."""
    order, sizes = _order_by_class(labels, seed=0), np.unique(labels, return_counts=True)[1]
    share = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes]) if len(sizes) else np.zeros(0)
    return order[np.argsort(share, kind="stable")]


def _order_by_class(labels: Int[np.ndarray, " examples"], seed: int) -> Int32[np.ndarray, " examples"]:
    """Indices class after class, in random order within each: every k-th index makes a stratified share."""
    labels = np.asarray(labels)
    order = np.random.default_rng(seed).permutation(len(labels)).astype(np.int32)
    return order[np.argsort(labels[order], kind="stable")]
