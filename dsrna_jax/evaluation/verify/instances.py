"""Instances of VNN-COMP: a network (ONNX), a property (VNNLIB) and a timeout; one, or a csv of them with a csv of results."""

import csv
import io
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax import bounds, interchange
from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import expanded, text_of, write_whole
from dsrna_jax.interchange import OnnxNetwork, Property
from dsrna_jax.interchange.onnx_file import read_bytes
from dsrna_jax.interchange.onnx_network import fits_float32
from dsrna_jax.interchange.vnnlib import witness
from dsrna_jax.runtime.lock import held

STATUSES = ("unsat", "sat", "timeout", "unknown", "error")
TOLERANCE = 1e-4
"""By how much onnxruntime's outputs, in float32, may miss the unsafe set that a counterexample reaches in float64."""
_HEADING: tuple[str, ...] = ("onnx", "vnnlib", "timeout", "result", "seconds", "branches", "reason")


class Answer(NamedTuple):
    """The answer to one instance.

    status: one of `STATUSES`: unsat if the property holds, sat if an input has an unsafe output.
    reason: how it was found, or why not.
    seconds: time taken, reading and compiling included.
    branches: number of sub-problems that were bounded.
    counterexample: (x, y), the input and its output, if the status is sat.
    """

    status: str
    reason: str
    seconds: float
    branches: int = 0
    counterexample: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def text(self) -> str:
        """The content of VNN-COMP's results file: the status, and the counterexample in a line a variable."""
        return f"{self.status}\n" + (witness(*self.counterexample) + "\n" if self.counterexample else "")


def answer(onnx: str | os.PathLike, vnnlib: str | os.PathLike, timeout: float) -> Answer:
    """The answer to one instance, within `timeout` seconds.

    Raises: InputError if a file cannot be read, they do not fit together, or the network cannot be bounded.
    """
    started = time.monotonic()
    if not timeout > 0:
        raise InputError(f"timeout={timeout:g}: expected more than 0 seconds")
    network, properties = interchange.read_onnx(onnx), interchange.read_vnnlib(vnnlib)
    _check_fit(network, properties, vnnlib)
    branches, undecided = 0, ""
    for number, found in enumerate(properties, start=1):
        left = timeout - (time.monotonic() - started)
        if left <= 0:
            undecided = f"the time was over before box {number} of {len(properties)}"
            break
        verdict = _verdict(network, found, left)
        branches += verdict.branches
        if verdict.counterexample is not None:
            x = np.asarray(verdict.counterexample, np.float64)
            y, doubt = confirmed(network, onnx, found, x)
            if not doubt:
                return Answer("sat", verdict.reason, time.monotonic() - started, branches, (x, y))
            undecided = undecided or doubt
        elif verdict.status != "verified":
            undecided = undecided or verdict.reason
    seconds = time.monotonic() - started
    if not undecided:
        return Answer("unsat", "the property holds", seconds, branches)
    return Answer("timeout" if seconds >= timeout else "unknown", undecided, seconds, branches)


def _verdict(network: OnnxNetwork, found: Property, timeout: float):
    region = bounds.Box(*(side.reshape(1, *network.example_shape) for side in (found.lower, found.upper)))
    dtype = network.dtype if fits_float32(found.rows) else np.dtype(np.float64)  # what is proved is of the numbers in the files
    offsets = found.offsets.astype(dtype)  # rounded down: the property that is proved implies the one that is stated
    offsets = np.where(offsets > found.offsets, np.nextafter(offsets, -np.inf, dtype=dtype), offsets)
    rows = found.rows.reshape(-1, *_without_batch(network.output_shape)).astype(dtype)
    try:
        with jax.enable_x64(dtype == np.float64):
            specification = bounds.Specification(jnp.asarray(rows), jnp.asarray(offsets), found.clauses)
            return bounds.verify(network.function, region, specification, timeout=timeout)
    except NotImplementedError as error:
        raise InputError(f"{network.path} cannot be bounded: {error}") from error


def confirmed(network: OnnxNetwork, onnx: str | os.PathLike, found: Property, x: np.ndarray) -> tuple[np.ndarray, str]:
    """The output at x, and the doubt if x is no counterexample; "" if it is one.

    x must lie in the box, and its output must be unsafe in float64, and within `TOLERANCE` by onnxruntime if that is installed.
    The output is then onnxruntime's.
    """
    if not (np.all(found.lower <= x.ravel()) and np.all(x.ravel() <= found.upper)):
        return np.zeros(0), "the counterexample lies outside of the box"
    with jax.enable_x64(True):
        y = np.asarray(network(jnp.asarray(x[None], jnp.float64))).reshape(1, -1)
    if not found.is_unsafe(y)[0]:
        return y, "the counterexample is none in float64"
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return y, ""
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(read_bytes(expanded(onnx)), providers=["CPUExecutionProvider"])
    dtype = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    (y,) = session.run([network.output_name], {network.input_name: x.astype(dtype).reshape(network.input_shape)})
    y = np.asarray(y, np.float64).reshape(1, -1)
    scale = max(1.0, np.abs(y).max())
    return y, "" if found.is_unsafe(y, TOLERANCE * scale)[0] else "onnxruntime does not confirm the counterexample"


def _without_batch(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(shape[1:] if shape[:1] == (1,) else shape)


def _check_fit(network: OnnxNetwork, properties: Sequence[Property], vnnlib: str | os.PathLike) -> None:
    sizes = [("inputs", "X", int(np.prod(network.input_shape)), len(properties[0].lower))]
    sizes.append(("outputs", "Y", int(np.prod(network.output_shape)), properties[0].rows.shape[1]))
    for noun, letter, has, declared in sizes:
        if has != declared:
            last = f"{letter}_0 to {letter}_{declared - 1}"
            raise InputError(f"{vnnlib} declares {last}, but {network.path} has {has} {noun}")


def run_instances(
    path: str | os.PathLike,
    results: str | os.PathLike,
    timeout: float | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, str]]:
    """Answers the instances of a csv (onnx, vnnlib, timeout; paths relative to it), writes a csv of results, returns its rows.

    A row is written as soon as it is known, and instances that have one are not run again. Counterexamples go to the folder of
    that name with `_counterexamples`. An instance that cannot be read has the result `error`, with its reason.

    Args:
      path: of the csv.
      results: of the csv of results.
      timeout: of every instance, in place of the csv's.
      say: takes a line for each instance.
    Raises: InputError if one of the two csv files is damaged, or if another process writes these results.
    """
    path, results = expanded(path), expanded(results)
    instances = _instances(path)
    results.parent.mkdir(parents=True, exist_ok=True)
    with held(results.with_name(f".{results.name}.lock"), results, "results"):
        return _answered(instances, path.parent, results, timeout, say)


def _answered(
    instances: Sequence[tuple[str, str, float]], folder: Path, results: Path, timeout: float | None, say: Callable[[str], None]
) -> list[dict[str, str]]:
    """The rows of the results, after the instances that have none yet."""
    rows = _earlier(results)
    done = {(row["onnx"], row["vnnlib"]) for row in rows}
    for number, (onnx, vnnlib, seconds) in enumerate(instances, start=1):
        if (onnx, vnnlib) in done:
            continue
        allowed = seconds if timeout is None else timeout
        try:
            found = answer(folder / onnx, folder / vnnlib, allowed)
        except InputError as error:
            found = Answer("error", str(error), 0.0)
        if found.counterexample:
            examples = results.with_name(f"{results.stem}_counterexamples")
            examples.mkdir(parents=True, exist_ok=True)
            write_whole(examples / f"{number}.txt", found.text)
        values = (onnx, vnnlib, f"{allowed:g}", found.status, f"{found.seconds:.3f}", str(found.branches), found.reason)
        rows.append(dict(zip(_HEADING, values, strict=True)))
        write_whole(results, _csv(rows))
        say(f"{number}/{len(instances)} {onnx} {vnnlib}: {found.status} in {found.seconds:.1f} s ({found.reason})")
        done.add((onnx, vnnlib))
    return rows


def _instances(path: Path) -> list[tuple[str, str, float]]:
    """The lines of a csv of instances. Raises: InputError, which names the line."""
    instances = []
    for number, row in enumerate(_csv_rows(path), start=1):
        given = shown(",".join(row))
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        try:
            onnx, vnnlib, timeout = cells
            seconds = float(timeout)
            if not 0 < seconds < float("inf"):
                raise ValueError
        except ValueError:
            raise InputError(f"{path}, line {number}: expected onnx,vnnlib,timeout in seconds, got {given}") from None
        instances.append((onnx, vnnlib, seconds))
    if not instances:
        raise InputError(f"{path} has no instances: expected lines onnx,vnnlib,timeout")
    return instances


def _earlier(results: Path) -> list[dict[str, str]]:
    """The rows of a csv of results; none if there is no file. Raises: InputError if it is another file."""
    if not results.exists():
        return []
    lines = _csv_rows(results)
    if not lines or tuple(lines[0]) != _HEADING or not all(map(_is_result, lines[1:])):
        raise InputError(f"{results} is no csv of results with the columns {','.join(_HEADING)}: give another --results")
    return [dict(zip(_HEADING, row, strict=True)) for row in lines[1:]]


def _is_result(row: Sequence[str]) -> bool:
    return len(row) == len(_HEADING) and row[3] in STATUSES and re.fullmatch(r"\d+\.\d{3}", row[4]) is not None


def _csv_rows(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(text_of(path).splitlines()))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except csv.Error as error:
        raise InputError(f"{path} is no csv: {error}") from None


def _csv(rows: Sequence[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _HEADING, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary(rows: Sequence[dict[str, str]]) -> str:
    """The number of instances of each status, and their time, in a line."""
    counts = {status: sum(row["result"] == status for row in rows) for status in STATUSES}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{len(rows)} instances: {counted or 'none'}; {sum(float(row['seconds']) for row in rows):.1f} s"
