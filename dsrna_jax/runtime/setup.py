"""The setup of a run: its configuration, data, network and pure functions."""

import dataclasses
import zlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from dsrna_jax.data import Dataset
from dsrna_jax.data.batches import ShuffledBatches
from dsrna_jax.data.loading import StreamedDataset
from dsrna_jax.runtime.device_data import DeviceData
from dsrna_jax.runtime.options import names_in_programs
from dsrna_jax.runtime.timetable import Timetable


@dataclasses.dataclass(frozen=True)
class RunSetup(ABC):
    """The common part of searches and trainings; `parts` are indices into the training split."""

    config: Any
    dataset: Dataset | StreamedDataset
    parts: dict[str, np.ndarray]
    network: Any  # a Network
    functions: Any
    steps_per_epoch: int

    @property
    def resolved(self) -> dict[str, Any]:
        """The configuration with the facts of the data, as JSON: enough to build the network again."""
        data = {
            "examples": len(self.dataset),
            "image_shape": list(self.dataset.image_shape),
            "class_names": list(self.dataset.class_names),
            "mean": list(self.network.mean),
            "std": list(self.network.std),
        }
        return {"experiment": self.config.experiment, "config": dataclasses.asdict(self.config), "data": data}

    @property
    def label_digest(self) -> int:
        """A checksum of the labels in their order, which decide the parts of the split.

        Copies of a data set may have the same number of images and the same statistics in another order.
        """
        return zlib.crc32(self.dataset.strata.tobytes())

    @property
    def is_streamed(self) -> bool:
        """Whether images come batch by batch, and not all at once."""
        return isinstance(self.dataset, StreamedDataset)

    @property
    def data(self) -> DeviceData:
        """The part of the data set that the programs of the run need, in host memory; of a stream, the statistics alone."""
        mean, std = (np.array(values, np.float32) for values in (self.network.mean, self.network.std))
        numbers = {name: np.float32(getattr(self.config, name)) for name in names_in_programs(self.config, "argument")}
        if isinstance(self.dataset, StreamedDataset):
            return DeviceData(None, None, mean, std, numbers)
        return DeviceData(self.dataset.images, self.dataset.labels, mean, std, numbers)

    @property
    def identity(self) -> Any:
        """All facts that decide the programs of the run besides the shapes of their arguments; compared by their repr.

        Of the configuration its constants count (`options.option`): two seeds, or two weight decays, run the same programs.
        """
        constants = {name: getattr(self.config, name) for name in names_in_programs(self.config, "constant")}
        return (
            self.config.experiment,
            constants,
            self.network.clone(mean=(), std=()),
            self.dataset.image_shape,
            self.steps_per_epoch,
        )

    @property
    def timetable(self) -> Timetable:
        """The epochs of the run: by default those of the configuration, each a pass over the images."""
        return Timetable(((self.config.epochs, self.steps_per_epoch),))

    @property
    @abstractmethod
    def summary(self) -> str:
        """The data, and the number of images in each part, in a line."""

    @property
    def loading(self) -> str:
        """The way of images to the devices (memory or stream) and its reason, in a line."""
        if isinstance(self.dataset, StreamedDataset):
            return f"images are streamed: {self.dataset.why}"
        return "images are held in memory"

    def batches(self, part: str) -> ShuffledBatches:
        """The batches of a part by number, as indices [batch] into the training split."""
        return ShuffledBatches(self.parts[part], self.config.batch_size, self.config.seed, part)

    def batch(self, part: str, step: int) -> np.ndarray:
        """Indices [batch] into the training split of batch number `step` from that part."""
        return self.batches(part)(step)
