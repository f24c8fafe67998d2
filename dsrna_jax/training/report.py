"""What a training amounts to before it runs: weights, multiply-adds, steps, memory."""

from dsrna_jax.networks import network
from dsrna_jax.networks.multiply_adds import multiply_adds
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.memory import estimates
from dsrna_jax.training import programs as training_programs
from dsrna_jax.training.setup import TrainingTask


def training_report(job: TrainingTask) -> str:
    """For people: exact weight count, multiply-adds, number of steps, estimate of the memory that a step needs."""
    mesh = sharding.mesh(1)
    functions, shapes = training_programs.functions(job.training, mesh), training_programs.arguments(job, mesh)
    return "\n".join([
        network_report(job.network, job.dataset.image_shape),
        f"steps: {job.steps_per_epoch} in each of {job.config.epochs} epochs",
        *estimates(functions, shapes, ("train_step",)),
    ])  # fmt: skip


def network_report(net: network.Network, image_shape: tuple[int, int, int]) -> str:
    """For people: exact weight count and multiply-adds of a derived network."""
    height, width, _ = image_shape
    return (
        f"weights: {network.weight_count(net, image_shape):,} (without an auxiliary head)\n"
        f"multiply-adds: {multiply_adds(net, image_shape):,} for an image of {width}x{height}"
    )
