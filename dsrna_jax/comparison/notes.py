"""Notes below the table of a comparison."""

import shlex

from dsrna_jax.comparison.columns import COSTS, Column
from dsrna_jax.comparison.paper_tables import CLEAN, L2, LINF
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.genotypes.search_spaces import SPACES, SearchSpace
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.paths import CONFIG

PAPER_NOTE = (
    "Figures of the paper are shown if norm, stated radius, data set, split and kind of training are the same, else —. It "
    "states radii for CIFAR-10 alone (PGD 8/255, FGSM 2/255), and none for C&W. Its figures under attack can only be of "
    "adversarial training; its clean accuracies are of standard training, except those of RobNet. It names neither network, "
    "images nor method of its certified bounds. The cost of its own searches is that on one GTX 1080Ti."
)


def notes(rows: list[ComparisonRow], columns: list[Column]) -> list[str]:
    """Units, seeds, images, budgets, and the commands that fill gaps."""
    texts = [
        "Clean accuracy, accuracy under attack and certified bounds whose headings name the same images are of these images and "
        "of the same checkpoints; accuracies are in per cent, and the JSON files have 95 % intervals."
    ]
    if any(row.count > 1 for row in rows):
        texts.append(
            "Rows of several trainings: mean ± standard deviation; with several searches, over the searches, each the mean of "
            "its trainings; (k of n) if only k of n were measured."
        )
    spaces = {run.search.config.get("space", "") for row in rows for run in row.runs if run.search} & SPACES.keys()
    if len({type(SPACES[space]) for space in spaces}) > 1:
        own = " and ".join(sorted(space for space in spaces if type(SPACES[space]) is not SearchSpace))
        texts.append(f"Rows of space {own} are from searches that use a different search space: blocks in place of cells.")
    if any(column.title in (LINF, L2) for column in columns):
        texts.append("Certified bounds are means over all images, in pixel units; misclassified images count as 0.")
    for kind, results in (("attack", "attacks"), ("certify", "certificates")):
        without = [run for row in rows for run in row.runs if not getattr(run, results)]
        if without:
            commands = "; ".join(f"{command_line(kind)} {shlex.quote(f'--checkpoint={run.path}')}" for run in without)
            texts.append(f"Cells that show — because {kind} has not run are filled by: {commands}")
    stopped = [run for row in rows for run in row.runs if run.stopped is not None]
    texts += [
        f"The training in {run.path} was stopped after epoch {run.stopped} of {run.config.epochs}, and is no replicate of whole "
        f"ones: it goes on by {command_line('train')} --resume {shlex.quote(f'--run_dir={run.path}')}"
        for run in stopped
    ]
    untested = [run.path for row in rows for run in row.runs if run.result is None and run not in stopped]
    if folders := [path for path in untested if (path / CONFIG).is_file()]:
        commands = "; ".join(f"{command_line('train')} --resume {shlex.quote(f'--run_dir={path}')}" for path in folders)
        texts.append(f"Accuracy on all test images, which these trainings lack, is measured by: {commands}")
    if others := [str(path) for path in untested if path not in folders]:
        texts.append(f"Accuracy on all test images is known of the folder of a training alone: not of {', '.join(others)}")
    texts += [
        f"{run.path} has no accuracy on test images: {run.result.get('why', 'its data set has none')}"
        for row in rows
        for run in row.runs
        if run.result and run.result["test"] is None
    ]
    texts += [f"{', '.join(filter(None, (c.title, c.settings)))}: {c.budget}." for c in columns if c.budget]
    if any(c.images and c.title != CLEAN and 0 < sum(c in row.cells for row in rows) < len(rows) for c in columns):
        texts.append("— also means that a run was measured on other images or with other settings: give all runs the same.")
    if any(not any(column.title in COSTS for column in row.cells) for row in rows):
        texts.append("Search cost is known if --genotype named the folder of a search that still exists.")
    return texts
