"""Plans of reproductions, and runs of them that look as if they had ended."""

from pathlib import Path

from dsrna_jax.commands import reproduce
from dsrna_jax.reproduction import protocols
from dsrna_jax.reproduction.graph import RESULTS
from dsrna_jax.reproduction.plan import Plan
from dsrna_jax.sweeps.worker import JobState, record

TABLES = [protocols.table(number) for number in protocols.TABLES]


def planned(scale, *methods, tables=TABLES, seeds=1, out=Path("runs/r"), **common):
    return Plan(protocols.scale(scale), tables, methods, seeds, out, common, reproduce.resolved)


def finished(plan, name, seconds=1.0):
    """Makes a run look as if it had ended well."""
    folder = plan.out / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS[plan.graph.nodes[name].command]).write_text("{}")
    record(plan.out, name, JobState("done", 1, 100.0, 100.0 + seconds))
