"""The graph of runs behind tables: search -> training -> attack or certificate, each one command with a folder of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dsrna_jax.comparison import paper_tables
from dsrna_jax.errors import InputError
from dsrna_jax.reproduction.protocols import Scale, Section, Table, TableColumn, TableMethod
from dsrna_jax.sweeps.jobs import Job, kept

RESULTS = {"search": "genotype.json", "train": "result.json", "attack": "attack.json", "certify": "certify.json"}
"""The file with which each command ends."""


class RunNode(NamedTuple):
    """A run.

    name: of its folder, below that of the reproduction.
    kind: "search", a role of trainings, "attack" or "certify".
    needs: names of the runs whose results it takes.
    """

    name: str
    command: str
    kind: str
    section: Section
    method: TableMethod
    seed: int
    flags: Mapping[str, Any]
    needs: tuple[str, ...] = ()

    @property
    def job(self) -> Job:
        """The run as a job of a sweep."""
        return Job(self.name, self.command, tuple(map(_flag, self.flags.items())))


class CellRuns(NamedTuple):
    """A figure of a table: the training of each seed whose measure it is a mean of, by the name of its node."""

    table: int
    method: TableMethod
    data: str  # the paper's
    column: TableColumn
    trainings: tuple[str, ...]


class RunGraph(NamedTuple):
    """All runs by name, each after those that it needs, and the cells of the tables that they fill."""

    nodes: Mapping[str, RunNode]
    cells: Sequence[CellRuns]

    @property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """Names of the runs that each run needs."""
        return {name: node.needs for name, node in self.nodes.items()}


def graph(
    tables: Sequence[Table], scale: Scale, methods: Sequence[TableMethod], seeds: int, out: Path, common: Mapping[str, Any]
) -> RunGraph:
    """The runs that fill those tables at that scale.

    Args:
      methods: rows; those without cells at this scale have none.
      seeds: searches of each method, or trainings of a published cell.
      out: the folder, to which flags that name other runs are joined.
      common: flags of all commands, such as data_dir.
    """
    nodes: dict[str, RunNode] = {}
    cells = []
    for table in tables:
        for method in rows(table, methods):
            for data, name in scale.tables.get(table.number, {}).items():
                section = scale.data[name]
                if method.cell(_home(section, scale).family) is None:
                    continue
                for column in table.columns:
                    role = section.role(role_of(column, method, data))
                    every = [_training(nodes, role, method, seed, section, scale, out, common) for seed in range(seeds)]
                    for seed, training in enumerate(every):
                        _evaluation(nodes, column.measure, training, method, seed, section, out, common)
                    cells.append(CellRuns(table.number, method, data, column, tuple(every)))
    return RunGraph(nodes, cells)


def rows(table: Table, methods: Sequence[TableMethod]) -> list[TableMethod]:
    """The methods that are rows of a table: the paper's in its order, then those that the paper has nowhere."""
    own = [method for name in table.rows for method in methods if method.name == name]
    return own + [method for method in methods if method.row not in _PAPER_ROWS]


_PAPER_ROWS = {row for number in range(1, 7) for row in paper_tables.rows(number)}


def role_of(column: TableColumn, method: TableMethod, data: str) -> str:
    """The kind of training behind a figure."""
    if column.training != "protocol":
        return column.training
    return "adversarial" if paper_tables.protocol(column.title, method.row, data).is_adversarial else "standard"


def evaluation_of(measure: str) -> str:
    """The folder, in that of a training, of the evaluation from which a measure is read; "" if that is the training itself."""
    kind, *words = measure.split()
    if kind in ("attack", "fgsm", "series", "unattacked"):
        return "attack"
    return f"certify_{words[0]}" if kind in ("radius", "attacked") else ""


def done(node: RunNode, out: Path, state: str) -> bool:
    """Whether a run has ended well: by the record of its job, and by its last file."""
    return state == "done" and (out / node.name / RESULTS[node.command]).is_file()


def check_same(graph: RunGraph, out: Path) -> None:
    """Raises: InputError if `out` holds one of these runs with other flags; it names the run and the flags."""
    try:
        before = {job.name: job for job in kept(out)}
    except InputError:
        if (out / "sweep.json").exists():
            raise
        return
    for name, node in graph.nodes.items():
        if (job := before.get(name)) and job != node.job:
            gone, come = ([f for f in a.flags if f not in b.flags] for a, b in ((job, node.job), (node.job, job)))
            raise InputError(
                f"{out} was begun with another configuration: {name} with {' '.join(gone) or 'nothing'}, now "
                f"{' '.join(come) or 'nothing'}; give another --out, or the flags with which it was begun"
            )


def _home(section: Section, scale: Scale) -> Section:
    return scale.data[section.searched_on] if section.searched_on else section


def _training(nodes, role, method, seed, section, scale, out, common) -> str:
    """Adds a training, and the search before it, and returns its name."""
    name = f"{section.name}/{role}/{method.name}-{seed}"
    if name in nodes:
        return name
    home = _home(section, scale)
    cell, needs = dict(method.cell(home.family) or {}), ()
    if "genotype" in cell:
        genotype = cell["genotype"].format(seed=seed)
    else:
        search = f"{home.name}/search/{method.name}-{seed}"
        nodes.setdefault(search, RunNode(search, "search", "search", home, method, seed,
                                      {**cell, **home.flags["search"], **common, "seed": seed}))  # fmt: skip
        genotype, needs = str(out / search), (search,)
    flags = {**section.flags[role], **common, "genotype": genotype, "seed": seed}
    nodes[name] = RunNode(name, "train", role, section, method, seed, flags, needs)
    return name


def _evaluation(nodes, measure, training, method, seed, section, out, common) -> None:
    """Adds the attack or the certificate of which a measure is read, if it is of one."""
    if not (name := evaluation_of(measure)):
        return
    command, _, norm = name.partition("_")
    name, more = f"{training}/{name}", {"norm": norm} if norm else {}
    flags = {**section.flags[command], **more, **common, "checkpoint": str(out / training)}
    nodes.setdefault(name, RunNode(name, command, command, section, method, seed, flags, (training,)))


def _flag(pair: tuple[str, Any]) -> str:
    name, value = pair
    return f"--{'' if value else 'no'}{name}" if isinstance(value, bool) else f"--{name}={value}"
