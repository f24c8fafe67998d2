"""Notes below a comparison."""

from dsrna_jax.comparison.columns import COSTS, Column
from dsrna_jax.comparison.paper_tables import CLEAN, L2, LINF
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.runtime.invocation import command_line

PAPER_NOTE = (
    "Figures of the paper stand where norm, stated radius, data set, split and kind of training are the same, else —. It states "
    "radii for CIFAR-10 alone (PGD 8/255, FGSM 2/255), and none for C&W. Its figures under attack can only be of adversarial "
    "training; its clean ones are of standard training, but for RobNet's. It names neither network, images nor method of its "
    "certified bounds. Its search cost, where it is its own, is of one GTX 1080Ti."
)


def notes(rows: list[ComparisonRow], columns: list[Column]) -> list[str]:
    """Units, seeds, images, budgets, and the commands that fill gaps."""
    texts = [
        "Clean accuracy, accuracy under attack and certified bounds whose headings name the same images are of the same images "
        "and the same checkpoints; accuracies are in per cent, and the JSON files have 95 % intervals."
    ]
    if any(row.count > 1 for row in rows):
        texts.append(
            "Rows of several trainings: mean ± standard deviation, of several searches over the searches, each the mean of its "
            "trainings; (k of n) where only k of n were measured."
        )
    if any(column.title in (LINF, L2) for column in columns):
        texts.append("Certified bounds are means over all images, in pixel units; wrongly classified images count with 0.")
    for kind, results in (("attack", "attacks"), ("certify", "certificates")):
        without = [run for row in rows for run in row.runs if not getattr(run, results)]
        if without:
            commands = "; ".join(f"{command_line(kind)} --checkpoint={run.path}" for run in without)
            texts.append(f"What shows — for want of the command {kind} is filled by: {commands}")
    if untested := [run for row in rows for run in row.runs if run.result is None]:
        commands = "; ".join(f"{command_line('train')} --resume --run_dir={run.path}" for run in untested)
        texts.append(f"Accuracy on all test images, which these trainings did not end with, is measured by: {commands}")
    texts += [
        f"{run.path} has no accuracy on test images: {run.result.get('why', 'its data set has none')}"
        for row in rows
        for run in row.runs
        if run.result and run.result["test"] is None
    ]
    texts += [f"{', '.join(filter(None, (c.title, c.settings)))}: {c.budget}." for c in columns if c.budget]
    if any(c.images and c.title != CLEAN and 0 < sum(c in row.cells for row in rows) < len(rows) for c in columns):
        texts.append("— stands also where runs were measured on other images or with other settings: give all of them the same.")
    if any(not any(column.title in COSTS for column in row.cells) for row in rows):
        texts.append("Search cost is known where --genotype named the folder of a search, and that is still there.")
    return texts
