"""What a search amounts to before it runs: weights, steps, memory."""

from dsrna_jax.networks import network
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.memory import estimates
from dsrna_jax.search import programs as search_programs
from dsrna_jax.search.setup import Task


def report(job: Task) -> str:
    """For people: number of steps, exact weight count, estimate of the memory that a step needs on one device."""
    mesh = sharding.mesh(1)
    shapes = search_programs.arguments(job.search, job.dataset, job.config.batch_size, mesh)
    functions, config = search_programs.functions(job.search, mesh), job.config
    return "\n".join([
        f"weights: {network.weight_count(job.supernet, job.dataset.image_shape):,}",
        f"steps: {job.steps_per_epoch} in each of {config.epochs} epochs, {config.warmup_epochs} of which are warm-up",
        *estimates(functions, shapes, ("weight_step", "alpha_step")),
    ])  # fmt: skip
