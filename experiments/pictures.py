"""Makes the pictures of the documentation anew, by the commands that the tour shows: docs/images/*.png.

    python -m experiments.pictures --runs=runs/pictures       about ten minutes on two cores

A command whose results are there already is not run again.
"""

from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.commands import attack, certify, search, train
from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.commands.process import execute
from dsrna_jax.runtime.paths import check_path

OUT = Path(__file__).parents[1] / "docs" / "images"
WIDTH, COLOURS = 1200, 256


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`."""
    values = no_flags()
    define(values, "runs", "runs/pictures", "folder of the runs")
    parse(values, argv)
    if values.help:
        print(f"{__doc__}\n{values.get_help()}")
        return
    check_path(values.runs, "runs")
    searched, trained = f"{values.runs}/search", f"{values.runs}/train"
    commands = {
        f"{searched}/curves.png": (search, f"--run_dir={searched}"),
        f"{trained}/metrics.jsonl": (
            train, f"--genotype={searched}", "--cells=3", "--adversarial=pgd", "--radius=0.1", f"--run_dir={trained}",
        ),
        f"{trained}/attack_smoke_linf/attacked_images.png": (
            attack, f"--checkpoint={trained}", "--tier=smoke", "--radius=0.1",
        ),
        f"{trained}/certify_hz_crown_linf/certified_accuracy.png": (certify, f"--checkpoint={trained}", "--examples=20"),
    }  # fmt: skip
    for result, (command, *arguments) in commands.items():
        if not Path(result).exists():
            command.main([command.__name__, *arguments])
    for path in [*(path for path in commands if path.endswith(".png")), f"{searched}/alphas.png", f"{searched}/cells.png"]:
        shrink(Path(path), OUT / Path(path).name)
    draw(searched, trained)


def draw(searched: str, trained: str) -> None:
    """Pictures that no command leaves: the normal cell alone, and the curves of the training under a short title."""
    from dsrna_jax import genotypes, plots
    from dsrna_jax.runtime import records

    cell, curves = OUT / "cell.png", OUT / "training_curves.png"
    plots.cell(genotypes.load(f"{searched}/genotype.json"), "normal", cell, width=WIDTH)
    plots.training_curves(records.rows(f"{trained}/metrics.jsonl"), curves, title="train: runs/search on digits")
    shrink(cell, cell)
    shrink(curves, curves)


def shrink(path: Path, out: Path) -> None:
    """Writes a PNG at most `WIDTH` pixels wide with a palette of `COLOURS` colours."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((WIDTH, 10 * WIDTH), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    execute(main)
