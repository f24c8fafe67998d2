"""Model cards: what a trained network is, was trained on and is known to withstand, in Markdown beside an exported file."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dsrna_jax
from dsrna_jax import genotypes
from dsrna_jax.comparison.runs import FinishedTraining
from dsrna_jax.evaluation.certify.config import is_exact
from dsrna_jax.evaluation.report import versions
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.restore import TrainedNetwork

_OF_PROCESS = ("genotype", "data_dir", "seed")  # options that are told elsewhere, or tell nothing of the network
_USES = {
    "onnx": """import onnxruntime

session = onnxruntime.InferenceSession("{file}")
(logits,) = session.run(["logits"], {{"images": images}})  # float32 {shape} in [0, 1]""",
    "safetensors": """import dsrna_jax

logits_fn = dsrna_jax.restore.load("{file}").logits_fn  # float32 {shape} in [0, 1]

# Or the arrays by name: safetensors.numpy.load_file("{file}")""",
    "jax_export": """from pathlib import Path

from jax import export

logits_fn = export.deserialize(bytearray(Path("{file}").read_bytes())).call  # float32 {shape} in [0, 1]""",
    "genotype": """from dsrna_jax import genotypes

genotype = genotypes.load("{file}")""",
}


def card(run: FinishedTraining, network: TrainedNetwork, file: Path, kind: str, licence: str | None) -> str:
    """The model card of a file that holds the network of a run.

    Args:
      kind: the format of the file, one of `evaluation.exporting.FORMATS`.
      licence: of the weights; None if it is not stated.
    """
    data = network.metadata["data"]
    shape = "[batch, " + ", ".join(map(str, network.image_shape)) + "]"
    statistics = f"mean {_numbers(data['mean'])}, std {_numbers(data['std'])}"
    title = f"A network of {run.config.dataset} images, trained by dsrna_jax {dsrna_jax.__version__}."
    sections = [
        ["---", *([f"license: {licence}"] if licence else []), "library_name: dsrna_jax", "tags: [image-classification]", "---"],
        [f"# {run.path.resolve().name}", "", title],
        ["## Network", "", *_table(("", ""), _architecture(run, network))],
        ["## Data", "", *_table(("", ""), [
            ("data set", run.config.dataset),
            ("images", f"{shape}, float32 in [0, 1]; the network normalises them by {statistics}"),
            ("classes", ", ".join(network.class_names[:20]) + (", ..." if len(network.class_names) > 20 else "")),
        ])],
        ["## Training", "", *_table(("option", "value"), _training(run.config))],
        ["## Accuracy", "", *_accuracy(run)],
        ["## Under attack", "", *attacked(run.attacks)],
        ["## Certificates", "", *certified(run.certificates)],
        ["## Verified", "", *_verifications(run)],
        ["## File", "", *_table(("", ""), [
            ("name", file.name),
            ("SHA-256", hashlib.sha256(file.read_bytes()).hexdigest()),
            ("checkpoint", f"step {network.step}, digest {network.digest}"),
            ("written with", ", ".join(f"{name} {version}" for name, version in versions().items())),
        ]), "", "```python", _USES[kind].format(file=file.name, shape=shape), "```"],
        ["## Licence", "", f"Weights: {licence or 'not stated by those who trained them'}. "
         "dsrna_jax: Apache License 2.0. The data set has its own."],
    ]  # fmt: skip
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _table(heading: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    lines = [[str(cell).replace("|", "\\|").replace("\n", "<br>") for cell in row] for row in (heading, *rows)]
    text = [f"| {' | '.join(line)} |" for line in lines]
    return [text[0], f"|{'---|' * len(heading)}", *text[1:]]


def _architecture(run: FinishedTraining, network: TrainedNetwork) -> list[tuple[str, str]]:
    rows = [("cells", f"{run.config.cells}, {run.config.channels} channels in the first, stem {run.config.start}")]
    rows += [("weights", f"{run.weights:,}"), ("multiply-adds", f"{run.multiply_adds:,} an image")]
    rows.append(("genotype", f"`{json.dumps(genotypes.to_json(run.architecture))}`"))
    if isinstance(run.architecture, genotypes.Genotype):
        rows.append(("in DARTS's form", f"`{genotypes.to_darts(run.architecture)}`"))
    if run.search is not None:
        rows.append(
            (
                "found by",
                f"a search, {run.search.path.name}: metric {run.search.config['metric']}, seed {run.search.config['seed']}",
            )
        )
    return rows


def _training(config: TrainingConfig) -> list[tuple[str, Any]]:
    """The options that differ from their defaults, and those that every reader asks for."""
    asked = ("epochs", "batch_size", "lr", "adversarial", "seed")
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    names = [name for name in fields if name in asked or getattr(config, name) != fields[name]]
    return [(name, getattr(config, name)) for name in names if name in asked or name not in _OF_PROCESS]


def _accuracy(run: FinishedTraining) -> list[str]:
    test = (run.result or {}).get("test")
    if run.stopped is not None:
        return [f"Not measured on test images: the training was stopped after epoch {run.stopped} of {run.config.epochs}."]
    if not test:
        return ["Not measured on test images."]
    return [f"{test['accuracy']:.2%} of all {test['images']:,} {test['split']} images ({test['correct']:,} are right)."]


def attacked(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the section about attacks, from contents of attack.json."""
    rows = [
        (row["name"], row["norm"], f"{row['radius']:.4g}", row["budget"], f"{row['accuracy']:.1%}", result["examples"])
        for result in results
        for row in result["rows"]
    ]
    note = "Accuracy under attack is an upper bound of robust accuracy: a stronger attack may leave less."
    return [*_table(("attack", "norm", "radius", "budget", "accuracy", "images"), rows), "", note] if rows else ["Not measured."]


def certified(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines of the section about certificates, from contents of certify.json."""
    rows = []
    for result in results:
        arithmetic = ", exact arithmetic" if is_exact(result) else ""
        rows.append((result["method"] + arithmetic, result["norm"], _mean(result["radius"]["mean"]), result["examples"]))
    return _table(("method", "norm", "mean certified radius", "images"), rows) if rows else ["Not measured."]


def _verifications(run: FinishedTraining) -> list[str]:
    rows = []
    for result in run.verifications:
        counts = ", ".join(f"{count} {status}" for status, count in result["counts"].items())
        share, config = result["verified"]["accuracy"], result["config"]
        rows.append((f"{config['radius']:.4g}", f"{share:.1%}", f"{counts} of {result['examples']}", f"{config['timeout']:g} s"))
    heading = ("linf radius", "verified accuracy", "images", "time for an image")
    return _table(heading, rows) if rows else ["Not measured."]


def _mean(value: float | None) -> str:
    return "unbounded" if value is None else f"{value:.4g}"


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
