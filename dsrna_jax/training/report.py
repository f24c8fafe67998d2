"""The size of a training before it runs: weights, multiply-adds, steps, memory, time."""

from dsrna_jax.networks import network
from dsrna_jax.networks.multiplications import multiply_adds
from dsrna_jax.runtime import foretelling, sharding
from dsrna_jax.runtime.memory import estimates
from dsrna_jax.training.programs import arguments, calls, training_programs
from dsrna_jax.training.setup import TrainingSetup


def training_report(setup: TrainingSetup) -> str:
    """Lines of text: weight count, multiply-adds, number of steps, and an estimate of the memory that a step needs."""
    mesh = sharding.mesh(1)
    step, shapes = training_programs(setup.functions).train_step, arguments(setup, mesh)["train_step"]
    return "\n".join([
        network_report(setup.network, setup.dataset.image_shape),
        f"steps: {setup.steps_per_epoch} in each of {setup.config.epochs} epochs",
        setup.loading,
        *estimates({"train_step": (step, shapes)}, setup.config.remat),
    ])  # fmt: skip


def times(setup: TrainingSetup, devices: int) -> list[str]:
    """Lines of text: the time that the training takes, from calls of its programs (`foretelling.foretold`)."""
    mesh = sharding.mesh(devices)
    return foretelling.foretold(training_programs(setup.functions), arguments(setup, mesh), calls(setup), mesh, setup.identity)


def network_report(net: network.Network, image_shape: tuple[int, int, int]) -> str:
    """Lines of text: the weight count and the multiply-adds of a derived network."""
    height, width, _ = image_shape
    return (
        f"weights: {network.weight_count(net, image_shape):,} (without an auxiliary head)\n"
        f"multiply-adds: {multiply_adds(net, image_shape):,} for an image of {width}x{height}"
    )
