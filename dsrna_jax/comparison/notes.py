"""Notes below a comparison."""

from dsrna_jax.comparison.columns import Column
from dsrna_jax.comparison.paper_tables import COST, L2, LINF
from dsrna_jax.comparison.rows import ComparisonRow
from dsrna_jax.runtime.invocation import command_line

PAPER_NOTE = (
    "Rows of the paper are as it prints them; its settings differ: its clean and its robust figures are of different trainings; "
    "it states radii for CIFAR-10 alone (PGD 8/255; FGSM 2/255, though its figures look like 8/255), no budget of C&W but 60 "
    "iterations, and neither network, images nor method of its certified bounds; its search cost is of one GTX 1080Ti."
)


def notes(rows: list[ComparisonRow], columns: list[Column]) -> list[str]:
    """Units, seeds, numbers of images, budgets, and the commands that fill gaps."""
    texts = ["Clean and robust accuracy of a row are those of the same checkpoints; accuracies are in per cent."]
    if any(len(row.runs) > 1 for row in rows):
        texts.append("Rows of several seeds: mean ± standard deviation; (k of n) where only k of n seeds were measured.")
    if any(column.title in (LINF, L2) for column in columns):
        texts.append("Certified bounds are means over all images, in pixel units; wrongly classified images count with 0.")
    counts = []
    for done, results in (("attacked", "attacks"), ("certified", "certificates")):
        sizes = sorted({result["examples"] for row in rows for run in row.runs for result in getattr(run, results)})
        counts += [f"{', '.join(map(str, sizes))} {done}"] * bool(sizes)
    if counts:
        texts.append(f"Images: {'; '.join(counts)}; the JSON files have 95 % intervals.")
    for kind, results in (("attack", "attacks"), ("certify", "certificates")):
        without = [run for row in rows for run in row.runs if not getattr(run, results)]
        if without:
            commands = "; ".join(f"{command_line(kind)} --checkpoint={run.path}" for run in without)
            texts.append(f"What shows — for want of the command {kind} is filled by: {commands}")
    texts += [f"{', '.join(filter(None, c[:2]))}: {c.budget}." for c in columns if c.budget]
    if any(column.budget and 0 < sum(column in row.cells for row in rows) < len(rows) for column in columns):
        texts.append("— stands also where runs were measured with other settings or budgets: give all of them the same.")
    if any(Column(COST) not in row.cells for row in rows):
        texts.append("Search cost is known where --genotype named the folder of a search, and that is still there.")
    return texts
