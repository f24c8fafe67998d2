"""The size of a sampled search before it runs: weights, steps, memory, time."""

from dsrna_jax.networks import network
from dsrna_jax.runtime import foretelling, sharding
from dsrna_jax.runtime.memory import estimates
from dsrna_jax.search.sampled.programs import arguments, calls, sampled_programs
from dsrna_jax.search.sampled.setup import SampledSetup


def report(setup: SampledSetup) -> str:
    """Lines of text: the weight count, the number of steps, and an estimate of the memory that a step needs on one device."""
    mesh, config = sharding.mesh(1), setup.config
    programs, shapes = sampled_programs(setup.functions), arguments(setup, mesh)
    supernet = f"{setup.steps_per_epoch} in each of {config.epochs} epochs of the supernet" if config.epochs else "no supernet"
    tuning = f", each of which learns by itself in {config.fine_tune_steps}" if config.fine_tune_steps else ""
    large = [name for name in ("weight_step", "tune", "judge") if name in shapes]
    return "\n".join([
        f"weights: {network.weight_count(setup.network, setup.dataset.image_shape):,}",
        f"steps: {supernet}, then {config.children} children in rounds of {config.round_size}{tuning}",
        setup.loading,
        *estimates({name: (getattr(programs, name), shapes[name]) for name in large}, config.remat),
    ])  # fmt: skip


def times(setup: SampledSetup, devices: int) -> list[str]:
    """Lines of text: the time that the search takes, from calls of its programs (`foretelling.foretold`)."""
    mesh = sharding.mesh(devices)
    return foretelling.foretold(sampled_programs(setup.functions), arguments(setup, mesh), calls(setup), mesh, setup.identity)
