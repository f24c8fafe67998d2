"""Data: whole splits in host memory or streams of images, their parts, batches by number, and augmentation on the device.

A data set is `digits` (ships with scikit-learn), any prepared tensorflow_datasets image classification set, or a folder of images
with one sub-folder a class. Reading needs no TensorFlow. A new source is one function in `sources.SOURCES`.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.data.augment import augmented, pixels
    from dsrna_jax.data.batches import batch_indices, batches_per_epoch
    from dsrna_jax.data.dataset import Dataset
    from dsrna_jax.data.sources import load
    from dsrna_jax.data.splits import search_halves, stratified_shares
    from dsrna_jax.data.statistics import channel_statistics

__all__ = [
    "Dataset",
    "augmented",
    "batch_indices",
    "batches_per_epoch",
    "channel_statistics",
    "load",
    "pixels",
    "search_halves",
    "stratified_shares",
]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "Dataset": "dataset:Dataset",
        "augmented": "augment:augmented",
        "batch_indices": "batches:batch_indices",
        "batches_per_epoch": "batches:batches_per_epoch",
        "channel_statistics": "statistics:channel_statistics",
        "load": "sources:load",
        "pixels": "augment:pixels",
        "search_halves": "splits:search_halves",
        "stratified_shares": "splits:stratified_shares",
    },
)
