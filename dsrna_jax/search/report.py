"""The size of a search before it runs: weights, steps, memory, time."""

from dsrna_jax.networks import network
from dsrna_jax.runtime import foretelling, sharding
from dsrna_jax.runtime.memory import estimates
from dsrna_jax.search.loop import SearchLoop
from dsrna_jax.search.programs import arguments, calls, search_programs
from dsrna_jax.search.setup import SearchSetup


def report(setup: SearchSetup) -> str:
    """Lines of text: the weight count, the number of steps, and an estimate of the memory that a step needs on one device."""
    mesh, config = sharding.mesh(1), setup.config
    programs, shapes = search_programs(setup.functions), arguments(setup, mesh)
    large = [name for name in ("weight_step", "alpha_step", "eigenvalue") if name in shapes]
    return "\n".join([
        f"weights: {network.weight_count(setup.network, setup.dataset.image_shape):,}",
        f"steps: {setup.steps_per_epoch} in each of {config.epochs} epochs, {config.warmup_epochs} of which are warm-up",
        setup.loading,
        *estimates({name: (getattr(programs, name), shapes[name]) for name in large}, config.remat),
    ])  # fmt: skip


def times(setup: SearchSetup, devices: int) -> list[str]:
    """Lines of text: the time that the search takes, from calls of its programs (`foretelling.foretold`)."""
    mesh = sharding.mesh(devices)
    programs, shapes = search_programs(setup.functions), arguments(setup, mesh)
    return foretelling.foretold(programs, shapes, calls(setup), mesh, setup.identity, SearchLoop.rare)
