"""Export a trained network for other programs: ONNX, safetensors, jax.export, or DARTS's text of its genotype.

dsrna_jax export --checkpoint=runs/train_digits_PC_DARTS_cifar --to=onnx          for onnxruntime and other verifiers
dsrna_jax export --checkpoint=RUN --to=safetensors --out=weights.safetensors      weights by name, the genotype as metadata
dsrna_jax export --checkpoint=RUN --to=jax_export                                 StableHLO, for any batch, without this package
dsrna_jax export --checkpoint=RUN --to=genotype                                   Genotype(normal=[...], ...), as DARTS prints it

RUN is the folder of a training (then its best checkpoint is taken), or a checkpoint in it. Logits by the file are compared with
the network's. Beside it goes a model card in Markdown: data, training, accuracy, attacks and certificates found in the folder.
"""

from collections.abc import Sequence
from pathlib import Path

from dsrna_jax.commands.command import CHECKPOINT, checkpoint
from dsrna_jax.commands.flags import define, no_flags, parse
from dsrna_jax.errors import InputError
from dsrna_jax.files import content_of, expanded, write_whole
from dsrna_jax.runtime.invocation import in_users_words
from dsrna_jax.runtime.paths import check_file

SUFFIXES = {"onnx": ".onnx", "safetensors": ".safetensors", "jax_export": ".jax_export", "genotype": ".txt"}


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError for bad input."""
    values = no_flags()
    define(values, "checkpoint", CHECKPOINT.default, CHECKPOINT.text)
    define(values, "to", "onnx", "format of the file", tuple(SUFFIXES))
    define(values, "out", None, "file; by default network.SUFFIX in the folder export of the training")
    define(values, "licence", None, "licence of the weights for the model card, such as CC-BY-4.0")
    parse(values, argv)
    if values.help:
        print(f"{in_users_words(__doc__ or '')}\n{values.get_help()}")
        return
    run = checkpoint(values)
    from dsrna_jax.comparison import runs
    from dsrna_jax.comparison.card import card
    from dsrna_jax.evaluation.exporting import FORMATS
    from dsrna_jax.evaluation.folder import home
    from dsrna_jax.training import restore

    out = expanded(values.out) if values.out else home(run, "export") / f"network{SUFFIXES[values.to]}"
    check_file(out, "out")
    if out.suffix == ".md":
        raise InputError(f"out {out} is the name of the model card: expected another name for the network")
    beside = out.with_suffix(".md")
    _check_replaces_exports_alone(out, beside)
    network, finished = restore.load(Path(run)), runs.read(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    checked = FORMATS[values.to](network, out)
    write_whole(beside, card(finished, network, out, values.to, values.licence))
    print(f"{checked}\n{out} holds the network, {beside} its model card.")


def _check_replaces_exports_alone(out: Path, beside: Path) -> None:
    """Raises: InputError if one of the two is there and not by an earlier export, which leaves a card beside a network."""
    card = content_of(beside) if beside.exists() else b""
    is_ours = card.startswith(b"---\n") and b"\nlibrary_name: dsrna_jax\n" in card
    if card and not is_ours:
        raise InputError(f"{beside}, where the model card goes, is there and no model card: give another --out, or move it away")
    is_named = out.suffix in SUFFIXES.values() or f"| {out.name} |".encode() in card  # the card is of the last of several formats
    if out.exists() and not (is_ours and is_named):
        raise InputError(f"{out} is there and was not exported, or lost its card {beside.name}: give another --out, or delete it")
