"""The report of a reproduction: its tables as HTML, Markdown, CSV and LaTeX."""

from collections.abc import Mapping, Sequence

from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.files import write_whole
from dsrna_jax.reproduction import page, protocols
from dsrna_jax.reproduction.costs import Costs
from dsrna_jax.reproduction.departures import departures, networks
from dsrna_jax.reproduction.graph import RunGraph
from dsrna_jax.reproduction.grid import Grid, grid
from dsrna_jax.reproduction.plan import Plan
from dsrna_jax.reproduction.results import trainings
from dsrna_jax.runtime.origin import described, origin

NAME = "tables"
"""The name of its files, without suffix."""


def write(plan: Plan, command: str) -> str:
    """Writes the tables of all that is done to the folder of the plan, and returns them as Markdown.

    Args:
      command: the command line that asked for them.
    Raises: InputError if a result is damaged.
    """
    graph = plan.shown()
    states = Costs(graph, plan.out, plan.resolve)
    done = trainings(graph, plan.out, {name for name in graph.nodes if states.is_done(name)})
    title = f"Tables of the paper at scale {plan.scale.name}"
    seeds = "1 search" if plan.seeds == 1 else f"{plan.seeds} searches"
    made = described(origin(), {})["dsrna_jax"]
    how = f"{seeds} of each method, or as many trainings of a published cell. dsrna_jax {made}: {command}"
    summary = [plan.scale.says, how, "docs/paper.md and docs/tables.md say how the paper is read where it is silent."]
    grids = _grids(plan, graph, done)
    texts = {
        "html": page.html(grids, title, summary, plan.out),
        "md": page.markdown(grids, title, summary),
        "csv": page.comma_separated(grids),
        "tex": page.latex(grids),
    }
    for suffix, text in texts.items():
        write_whole(plan.out / f"{NAME}.{suffix}", text)
    return texts["md"]


def _grids(plan: Plan, graph: RunGraph, done: Mapping[str, FinishedTraining]) -> Sequence[Grid]:
    methods = list({cell.method.name: cell.method for cell in graph.cells}.values())
    full_scale = protocols.scale("paper")
    full = plan.graph_of(full_scale, methods, plan.tables)
    grids = []
    for table in plan.tables:
        title = f"Table {table.number}. {table.title}"
        if reason := plan.table_left_out(table):
            grids.append(Grid(title, [], [], f"Not run: {reason}.", [], [], []))
            continue
        changed = departures(graph, full, plan.resolve, table.number)
        if plan.seeds != full_scale.seeds:
            changed.append(f"searches of each method: {full_scale.seeds} -> {plan.seeds}")
        left_out = {row: f"not run: {reason}" for row, reason in plan.rows_left_out(table, graph).items()}
        sizes = [f"{text}." for text in networks(graph, plan.resolve, table.number)]
        grids.append(grid(table, plan.scale, graph, done, left_out, changed)._replace(title=title, networks=sizes))
    return grids
