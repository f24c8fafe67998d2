"""The setup of an evaluation: a trained network, images for it, and the devices that share a batch.

Of several processes each does whole batches by itself, on its own devices: no number depends on how many they are.
"""

import os
import signal
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.sharding import Mesh
from jax.tree_util import Partial

from dsrna_jax.evaluation.images import EvaluationImages, evaluation_images
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.joining import joined
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import restore
from dsrna_jax.training.restore import TrainedNetwork
from dsrna_jax.training.result import stopped_after


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

    def on(self, batch_size: int) -> str:
        """The heading with the devices, and warnings: of a training that was stopped, of fewer such batches than processes."""
        processes, batches = current().count, -(-self.count // batch_size)
        text = f"{self.heading}, on {sharding.described(self.mesh)}{f' in each of {processes} processes' * (processes > 1)}"
        if (done := stopped_after(self.checkpoint, self.network.config.epochs)) is not None:
            text += f"\nWARN: this training was stopped after epoch {done} of {self.network.config.epochs}: the checkpoint is of "
            text += f"step {self.network.step}"
        if batches >= processes:
            return text
        most = max(1, self.count // processes // self.mesh.size) * self.mesh.size
        return f"{text}\nWARN: {batches} of {processes} processes have work: give a batch_size of {most} or less, or more images"

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
      devices: number of devices, in equal parts of the processes; 0 for all.
    Raises: InputError if there is no such checkpoint, if data or devices do not fit, or if the processes of this run have others.
    """
    processes = joined()
    mesh, network = sharding.own_mesh(devices), restore.load(checkpoint)
    setup = EvaluationSetup(str(checkpoint), network, evaluation_images(config, network), mesh, config.split)
    if processes.count > 1:
        processes.agree("network or images", {"checkpoint": network.digest, "images": setup.images.digest})
    return setup


def stop_if_requested(requests: Sequence[int], kept: str, progress: Any = None) -> None:
    """Raises: Stopped if there is a request (`signals.stop_requests`), or if nobody reads the display any more.

    Args:
      kept: the work that is not lost, in words.
      progress: the display, such as `WorkProgress`.
    """
    if requests or getattr(progress, "is_cut_off", False):
        number = signal.Signals(requests[0] if requests else signal.SIGPIPE)
        raise Stopped(number, f"stopped by {number.name}; {kept}")
