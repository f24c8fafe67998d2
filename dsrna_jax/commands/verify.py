"""Verify properties of networks completely: a proof, a counterexample, or neither within the time.

dsrna_jax verify NETWORK.onnx PROPERTY.vnnlib --timeout=60                one instance of VNN-COMP: unsat, sat, timeout or unknown
dsrna_jax verify --instances=instances.csv --results=results.csv          all of a csv; those that have a result are not run again
dsrna_jax verify --checkpoint=RUN --radius=0.05 --timeout=20              a trained network, around test images
dsrna_jax verify --checkpoint=RUN --resume                                go on with a verification that was stopped

The answer is unsat if no input of the property's boxes has an unsafe output, and sat if one has: it is printed, and was confirmed
in float64 and by onnxruntime, if that is installed. RUN is the folder of a training (then its best checkpoint is taken), or a
checkpoint in it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.command import Flag, parsed_flags, run_command
from dsrna_jax.commands.evaluating import evaluation_command
from dsrna_jax.commands.flags import OF_PROCESSES, overridden
from dsrna_jax.commands.next_steps import argument, line
from dsrna_jax.commands.process import enable_compilation_cache, use_many_heaps
from dsrna_jax.commands.processes import join_processes
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.verify.config import VerificationConfig
from dsrna_jax.evaluation.verify.instances import Answer, in_vnncomp_form, run_instances, summary
from dsrna_jax.files import expanded, write_whole
from dsrna_jax.runtime.apart import Apart
from dsrna_jax.runtime.invocation import command_line
from dsrna_jax.runtime.paths import check_file
from dsrna_jax.runtime.processes import current
from dsrna_jax.runtime.signals import ending

_KINDS = "NETWORK.onnx PROPERTY.vnnlib, --instances=CSV or --checkpoint=RUN"
GRACE = 2.0  # seconds that an instance may take beyond its timeout
_OF_INSTANCES = ("timeout", "results", "vnncomp", "instances", "checkpoint")
_SUFFIXES = (".onnx", ".onnx.gz", ".vnnlib", ".vnnlib.gz")


def main(argv: Sequence[str]) -> None:
    """Runs the command with the arguments `argv[1:]`. Raises: InputError for bad input."""
    use_many_heaps()
    files = [given for given in argv[1:] if given.endswith(_SUFFIXES) and not given.startswith("-")]
    flags = [given for given in argv if given not in files]
    values = parsed_flags(COMMAND, flags, expected=_KINDS)
    if not (values.help or files or values.instances or values.checkpoint):
        raise InputError(f"expected {_KINDS} (--help says more)")
    if (values.checkpoint or "").endswith(_SUFFIXES) and not Path(values.checkpoint).is_dir():
        raise InputError(
            f"checkpoint={values.checkpoint}: expected a training, a checkpoint of one or a file .safetensors; "
            "ONNX goes with a property, NETWORK.onnx PROPERTY.vnnlib"
        )
    if values.help or not (files or values.instances):
        run_command(COMMAND, flags)
        return
    if values.checkpoint or (files and values.instances):
        raise InputError(f"expected one of {_KINDS}")
    for name in (name for name in values if values[name].present and name not in (*_OF_INSTANCES, *OF_PROCESSES)):
        raise InputError(f"--{name} is of --checkpoint=RUN: with instances expected --timeout and --results alone")
    if files and values.coordinator_address:
        raise InputError("one instance takes one process: leave out coordinator_address, or give many, --instances=CSV")
    join_processes(values)
    if values.instances:
        with ending(lambda: f"; the same {command_line('verify')} goes on"):
            current().agree("command", {name: values[name].value for name in _OF_INSTANCES})
            _instances(values)
    elif len(files) == 2 and ".onnx" in Path(files[0]).name and ".vnnlib" in Path(files[1]).name:
        _one(files[0], files[1], values)
    else:
        raise InputError(f"expected a network and a property, NETWORK.onnx PROPERTY.vnnlib; got {', '.join(files)}")


def _one(onnx: str, vnnlib: str, values: FlagValues) -> None:
    if values.vnncomp:
        raise InputError("vnncomp is a csv of many instances: expected --results=FILE for one")
    timeout = overridden(VerificationConfig(), values).timeout
    results = expanded(values.results) if values.results else None
    if results is not None:
        check_file(results, "results")
        results.parent.mkdir(parents=True, exist_ok=True)
        write_whole(results, "error\n")  # until there is another answer
    answer = answered_apart(Apart(answering))(expanded(onnx), expanded(vnnlib), timeout)
    if results is not None:
        write_whole(results, answer.text)
    print(answer.text.rstrip())


def _instances(values: FlagValues) -> None:
    timeout = overridden(VerificationConfig(), values).timeout if values["timeout"].present else None
    results = expanded(values.results or Path(values.instances).parent / "results.csv")
    check_file(results, "results")
    if values.vnncomp:
        check_file(expanded(values.vnncomp), "vnncomp")
        expanded(values.vnncomp).parent.mkdir(parents=True, exist_ok=True)
    rows = run_instances(values.instances, results, answered_apart(Apart(answering)), timeout)
    if not current().is_first:
        return
    if values.vnncomp:
        category = expanded(values.instances).resolve().parent.name
        write_whole(expanded(values.vnncomp), in_vnncomp_form(rows, category))
    print(f"{summary(rows)}\n{results} holds a row for each instance.")


def answering() -> Callable[[Path, Path, float], Answer]:
    """Makes a process ready for `answering.answer`, which it returns."""
    use_many_heaps()
    enable_compilation_cache()
    from dsrna_jax.evaluation.verify.answering import answer

    return answer


def answered_apart(apart: Apart) -> Callable[[Path, Path, float], Answer]:
    """`answering.answer` in a process of its own, whose end is no end of this one.

    The verifier looks at its clock between batches of sub-problems. Compilers and solvers have none, so that the process is ended
    `GRACE` seconds after the timeout.
    """

    def answered(onnx: Path, vnnlib: Path, timeout: float) -> Answer:
        try:
            return apart(onnx, vnnlib, timeout, seconds=timeout + GRACE)
        except TimeoutError:
            return Answer("timeout", f"it was ended {GRACE:g} s after its time, as while a program is compiled", timeout + GRACE)

    return answered


def _base(values: FlagValues) -> VerificationConfig:
    for name in ("results", "vnncomp"):
        if values[name].value:
            raise InputError(f"{name} is of instances: expected --out=FOLDER with --checkpoint")
    return VerificationConfig()


def _report(report: dict[str, Any], out: Path, values: FlagValues) -> str:
    from dsrna_jax.evaluation.verify.run import lines

    return "\n".join([
        "", lines(report), "",
        f"{out} holds verify.json and counterexamples.npz.",
        f"next: {line('export', f'--checkpoint={argument(values.checkpoint)}')}",
    ])  # fmt: skip


COMMAND = evaluation_command(
    "verify",
    __doc__ or "",
    defaults=VerificationConfig(),
    own={
        "instances": Flag("csv of instances: onnx,vnnlib,timeout in a line, paths relative to it"),
        "results": Flag("file of the answer to one instance, or csv of results, by default results.csv beside that of instances"),
        "vnncomp": Flag("with instances, a csv of results as the scripts of VNN-COMP write it, beside the other"),
    },
    base=_base,
    folder=lambda config: f"verify_linf_{config.radius:g}",
    out="folder of the results of a checkpoint; by default verify_linf_RADIUS in that of the training",
    dry_run="show images and the most time that they can take, and verify nothing",
    report=_report,
)
