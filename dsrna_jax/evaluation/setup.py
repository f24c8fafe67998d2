"""The setup of an evaluation: a trained network, images for it, and the devices that share a batch."""

import os
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.sharding import Mesh
from jax.tree_util import Partial

from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.images import EvaluationImages, evaluation_images
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import restore
from dsrna_jax.training.restore import TrainedNetwork


class EvaluationSetup(NamedTuple):
    """A network from its checkpoint, the images that a configuration draws for it, and devices."""

    checkpoint: str
    network: TrainedNetwork
    images: EvaluationImages
    mesh: Mesh
    split: str

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self.images.labels)

    @property
    def identity(self) -> dict[str, Any]:
        """The checkpoint in reports: its "path", "step" and "digest"."""
        return {"path": self.checkpoint, "step": self.network.step, "digest": self.network.digest}

    @property
    def heading(self) -> str:
        """Data set, split and number of images, as text."""
        return f"{self.network.config.dataset} {self.split}: {self.count} images"

    def batch_size(self, wanted: int) -> int:
        """Images of a batch: `wanted`, or fewer if there are fewer, rounded up to a multiple of the devices.

        Raises: InputError if the devices cannot share it equally.
        """
        devices = self.mesh.size
        size = min(wanted, -(-self.count // devices) * devices)
        sharding.check_divides(size, self.mesh)
        return size

    def on_devices(self, logits_fn: Partial) -> Partial:
        """A network that the devices apply to their own images of a batch."""
        return sharding.network_by_example(logits_fn, self.mesh)

    def place(self, batch: Any) -> Any:
        """A batch, split among the devices."""
        return sharding.placed(batch, sharding.split(self.mesh))


def evaluation_setup(config: Any, checkpoint: str | os.PathLike, devices: int = 0) -> EvaluationSetup:
    """The network and the images of an evaluation.

    Args:
      config: as `evaluation_images` takes it.
      checkpoint: as `restore.load` takes it.
      devices: number of devices that share a batch; 0 for all.
    Raises: InputError if there is no such checkpoint, if data or devices do not fit, or in one of several processes of a run.
    """
    if joined().count > 1:
        raise InputError("attacks and certificates take one process: start it on one host, without coordinator_address")
    mesh, network = sharding.mesh(devices), restore.load(checkpoint)
    return EvaluationSetup(str(checkpoint), network, evaluation_images(config, network), mesh, config.split)


def stop_if_requested(requests: Sequence[int], kept: str, progress: Any = None) -> None:
    """Raises: Stopped if there is a request (`signals.stop_requests`), or if nobody reads the display any more.

    Args:
      kept: the work that is not lost, in words.
      progress: the display, such as `WorkProgress`.
    """
    if requests or getattr(progress, "is_cut_off", False):
        number = signal.Signals(requests[0] if requests else signal.SIGPIPE)
        raise Stopped(number, f"stopped by {number.name}; {kept}")
