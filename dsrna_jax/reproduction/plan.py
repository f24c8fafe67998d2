"""The plan of a reproduction: its runs, their costs, what is left out and why, and what is missing on this machine."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dsrna_jax.errors import InputError
from dsrna_jax.reproduction import protocols
from dsrna_jax.reproduction.costs import Costs, Resolve
from dsrna_jax.reproduction.graph import RunGraph, check_same, graph
from dsrna_jax.reproduction.protocols import Scale, Table, TableMethod
from dsrna_jax.runtime.durations import in_words
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.sweeps.jobs import kept

_STATES = {"waiting": "to do", "done": "to do"}  # a run is done if its last file is there too


class Plan:
    """The runs that fill some tables at a scale.

    Args:
      methods: rows; none for those of the scale.
      seeds: searches of each method; 0 for the number of the scale.
      common: flags of all commands, such as data_dir.
      resolve: a run -> its configuration.
    Raises: InputError if there is nothing to run.
    """

    def __init__(
        self, scale: Scale, tables: Sequence[Table], methods: Sequence[str], seeds: int, out: Path, common: Mapping[str, Any],
        resolve: Resolve,
    ):  # fmt: skip
        self.scale, self.tables, self.out, self.common, self.resolve = scale, tables, out, common, resolve
        self.methods, self.seeds = protocols.chosen(methods or scale.methods), seeds or scale.seeds
        self.graph = self.graph_of(scale, self.methods, tables)
        if not self.graph.nodes:
            reasons = [f"table {t.number}: {scale.left_out[t.number]}" for t in tables if t.number in scale.left_out]
            rest = f"none of the methods {', '.join(m.name for m in self.methods)} has cells in these tables"
            absent = [f"{m.row}: {m.absent}" for m in self.methods if m.absent and any(m.name in t.rows for t in tables)]
            raise InputError(f"nothing to run at scale={scale.name}: {'; '.join(reasons or [rest, *absent])}")
        self.costs = Costs(self.graph, out, resolve)

    def graph_of(self, scale: Scale, methods: Sequence[TableMethod], tables: Sequence[Table]) -> RunGraph:
        """The graph of other methods, tables or another scale, with the seeds and the folder of this plan."""
        return graph(tables, scale, methods, self.seeds, self.out, self.common)

    def shown(self) -> RunGraph:
        """The graph of all rows that have figures: those of this plan, and others that were run in the folder before."""
        others = [method for method in protocols.methods().values() if method not in self.methods]
        there = self.graph_of(self.scale, others, self.tables)
        before = {job.name: job for job in kept(self.out)}
        states = Costs(there, self.out, self.resolve)
        same = {name for name, node in there.nodes.items() if before.get(name) == node.job and states.is_done(name)}
        done = {cell.method.name for cell in there.cells if set(cell.trainings) <= same}
        methods = [method for method in protocols.methods().values() if method in self.methods or method.name in done]
        return self.graph_of(self.scale, methods, self.tables)

    def cost_of(self, scale: Scale, methods: Sequence[TableMethod], table: Table) -> str:
        """The cost of a table by itself, in words."""
        there = self.graph_of(scale, methods, [table])
        return f"about {in_words(sum(Costs(there, self.out / 'none', self.resolve).planned.values()))} on two cores"

    def table_left_out(self, table: Table) -> str:
        """The reason why a table is not run at this scale, and its cost at full size; "" if it is run."""
        if table.number in self.scale.tables:
            return ""
        full = protocols.scale("paper")
        cost = self.cost_of(full, protocols.chosen(full.methods), table)
        return f"{self.scale.left_out[table.number]}; at --scale=paper {cost}"

    def rows_left_out(self, table: Table, graph: RunGraph | None = None) -> dict[str, str]:
        """The rows of a table that are not run, each with the reason and its cost; none for a table that is not run.

        Args:
          graph: of all that is run; by default that of this plan.
        """
        left_out = {}
        cells = (self.graph if graph is None else graph).cells
        there = {cell.method.name for cell in cells if cell.table == table.number}
        for method in protocols.chosen(table.rows) if table.number in self.scale.tables else ():
            if method.name in there:
                continue
            if self.graph_of(self.scale, [method], [table]).nodes:
                left_out[method.row] = f"{self.cost_of(self.scale, [method], table)} by --methods={method.name}"
            else:
                left_out[method.row] = method.absent or "it has no search at this scale"
        return left_out

    def missing(self, has_gpu: bool) -> list[str]:
        """The data and devices that are missing, each with what can be done without, in one line."""
        from dsrna_jax.data.sources import is_there

        needed: dict[str, set[int]] = {}
        for cell in self.graph.cells:
            training = self.graph.nodes[cell.trainings[0]]
            for name in (training.name, *training.needs):
                needed.setdefault(self.costs.configs[name].dataset, set()).add(cell.table)
        folder, lines = self.common.get("data_dir"), []
        if absent := [name for name in needed if not is_there(name, folder)]:
            without = {cell.table for cell in self.graph.cells} - {table for name in absent for table in needed[name]}
            can = f"--table={','.join(map(str, sorted(without)))} runs without, and " if without else ""
            place = f" in {folder}" if folder else ""
            lines.append(f"{', '.join(absent)} not found{place}: give --data_dir=PATH, where it is prepared "
                         f"(docs/install.md, Data); {can}--scale=digits needs no data")  # fmt: skip
        if self.scale.gpu and not has_gpu:
            takes = in_words(self.costs.left(self.graph.nodes))
            lines.append(
                f"scale={self.scale.name} needs a GPU, which this machine lacks: on two cores it takes about {takes}; give "
                "--engine=slurm or --engine=ray, or a scale for a CPU (digits, mnist_small, cifar10_small)"
            )
        return lines

    def text(self, has_gpu: bool) -> str:
        """Tables, what is left out, every command with its state and cost, and the sum."""
        costs, lines = self.costs, [self.scale.says, ""]
        for table in self.tables:
            lines.append(f"table {table.number}: {table.title}")
            if reason := self.table_left_out(table):
                lines.append(f"  left out: {reason}")
            lines += [f"  left out: {row}: {reason}" for row, reason in self.rows_left_out(table).items()]
        lines += ["", f"{'state':8} {'cost':>10}  command"]
        to_do = [name for name in self.graph.nodes if not costs.is_done(name)]
        for name, node in self.graph.nodes.items():
            now = costs.states[name].state
            state, sign = (_STATES.get(now, now), "~") if name in to_do else ("done", "")
            words = shlex.join(node.job.arguments(self.out)[1:])
            lines.append(f"{state:8} {sign + in_words(costs.seconds(name)):>10}  {command_line(node.command)} {words}")
        measured, left, many = sum(costs.is_measured(name) for name in to_do), costs.left(to_do), self.scale.at_once
        best = f", at least {in_words(left / many)} with {many} at a time, as here" if many > 1 and to_do and not has_gpu else ""
        lines += [
            "",
            f"{len(costs.planned)} runs, {len(costs.planned) - len(to_do)} of them done",
            f"about {in_words(left)} left, one run after the other{best} ({measured} of {len(to_do)} estimated by runs of "
            "their kind that have ended here, the others by the steps that the scale states for two cores)",
        ]
        try:
            check_same(self.graph, self.out)
        except InputError as problem:
            lines.append(f"WARN: {problem}")
        return "\n".join([*lines, *(f"WARN: {problem}" for problem in self.missing(has_gpu))])
