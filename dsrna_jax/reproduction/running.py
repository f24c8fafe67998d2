"""Runs a graph of runs to its end, with one display for all."""

from collections.abc import Callable

from dsrna_jax.reproduction.costs import Costs
from dsrna_jax.reproduction.display import Display
from dsrna_jax.sweeps.engines import Engine
from dsrna_jax.sweeps.jobs import keep
from dsrna_jax.sweeps.run import Swept, run
from dsrna_jax.sweeps.worker import record


def run_graph(costs: Costs, place: Engine, retries: int, ended: Callable[[str], None] = lambda name: None) -> Swept:
    """Runs what is not done of the graph of `costs`, as `sweeps.run.run` does. Raises: Stopped after a signal."""
    jobs = [node.job for node in costs.graph.nodes.values()]
    keep(jobs, costs.out)
    for name, state in costs.states.items():
        if state.state == "done" and not costs.is_done(name):  # its results were removed
            record(costs.out, name, state._replace(state="waiting"))
    display = Display(costs, place.capacity)
    needs = costs.graph.needs
    return run(jobs, costs.out, place, retries, display, needs=needs, left=display.left, look=display.look, ended=ended)
