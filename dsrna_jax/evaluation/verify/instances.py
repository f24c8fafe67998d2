"""Instances of VNN-COMP: a network (ONNX), a property (VNNLIB) and a timeout; a csv of them, and a csv of results."""

import csv
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dsrna_jax.errors import InputError, shown
from dsrna_jax.files import expanded, text_of, write_whole
from dsrna_jax.runtime.lock import held
from dsrna_jax.runtime.processes import current

if TYPE_CHECKING:
    import numpy as np

STATUSES = ("unsat", "sat", "timeout", "unknown", "error")
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
    counterexample: "tuple[np.ndarray, np.ndarray] | None" = None

    @property
    def text(self) -> str:
        """The content of VNN-COMP's results file: the status, and the counterexample in a line a variable."""
        if self.counterexample is None:
            return f"{self.status}\n"
        from dsrna_jax.interchange.vnnlib import witness

        return f"{self.status}\n{witness(*self.counterexample)}\n"


def run_instances(
    path: str | os.PathLike,
    results: str | os.PathLike,
    answer: Callable[[Path, Path, float], Answer],
    timeout: float | None = None,
    say: Callable[[str], None] = print,
) -> list[dict[str, str]]:
    """Answers the instances of a csv (onnx, vnnlib, timeout; paths relative to it), writes a csv of results, returns its rows.

    A row is written as soon as it is known, and instances that have one are not run again. Counterexamples go to the folder of
    that name with `_counterexamples`, into a file for each instance (`example_file`). An instance that ends with an exception has
    the result `error`, with its reason, and so has, until it is known, the one that runs: should it take the whole process with
    it, the next call goes on behind it.

    The processes of a run (`runtime.processes`) all call this, and share out the instances that process 0 finds in the csv.
    Process 0 writes; instances that run have no rows then.

    Args:
      path: of the csv.
      results: of the csv of results.
      answer: maps the two files and the timeout to the answer, such as `answering.answer`.
      timeout: of every instance, in place of the csv's.
      say: takes a line for each instance.
    Raises: InputError if one of the two csv files is damaged, or if another process writes these results.
    """
    path, results, processes, rows = expanded(path), expanded(results), current(), []

    def answered(instance: Sequence[Any]) -> tuple[dict[str, str], str]:
        """The row of an instance, and the text of its counterexample, if it has one."""
        _, onnx, vnnlib, allowed = instance
        if processes.count == 1:
            running = Answer("error", "the command was killed while this instance ran", 0.0)
            write_whole(results, _csv([*rows, _row(onnx, vnnlib, allowed, running)]))
        began = time.monotonic()
        try:
            result = answer(path.parent / onnx, path.parent / vnnlib, allowed)
        except Exception as error:
            name = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            result = Answer("error", " ".join(f"{name}{error}".split()), time.monotonic() - began)
        return _row(onnx, vnnlib, allowed, result), result.text if result.counterexample else ""

    if not processes.is_first:
        return [row for _, (row, _) in processes.shared_out(answered, processes.decided(None))]
    instances = _instances(path)
    results.parent.mkdir(parents=True, exist_ok=True)
    with held(results.with_name(f".{results.name}.lock"), results, "results"):
        rows += _earlier(results)
        waiting = {}
        for number, (onnx, vnnlib, seconds) in enumerate(instances, start=1):
            if (onnx, vnnlib) in waiting:
                say(f"{number}/{len(instances)} {onnx} {vnnlib}: the same as instance {waiting[onnx, vnnlib][0]}, and left out")
            else:
                waiting[onnx, vnnlib] = (number, onnx, vnnlib, seconds if timeout is None else timeout)
        earlier = [row for row in rows if waiting.pop((row["onnx"], row["vnnlib"]), None)]
        if earlier:
            say(_kept(earlier, len(instances), results))
        shared = processes.shared_out(answered, processes.decided(sorted(waiting.values())))
        try:
            for (number, *_), (row, counterexample) in shared:
                if counterexample:
                    examples = results.with_name(f"{results.stem}_counterexamples")
                    examples.mkdir(parents=True, exist_ok=True)
                    write_whole(examples / example_file(row["onnx"], row["vnnlib"]), counterexample)
                rows.append(row)
                write_whole(results, _csv(rows))
                said = f"{row['result']} in {float(row['seconds']):.1f} s ({row['reason']})"
                say(f"{number}/{len(instances)} {row['onnx']} {row['vnnlib']}: {said}")
        except BaseException:  # a request to stop: the instance that runs is to be run again
            write_whole(results, _csv(rows))
            raise
    return rows


def example_file(onnx: str, vnnlib: str) -> str:
    """The name of the file of an instance's counterexample: those of its two files, and a digest of their paths."""
    names = (re.sub(r"[^\w.-]", "_", Path(file).name.split(".onnx")[0].split(".vnnlib")[0])[:80] for file in (onnx, vnnlib))
    digest = hashlib.sha256(f"{onnx}\n{vnnlib}".encode()).hexdigest()[:8]
    return f"{'-'.join(names)}-{digest}.txt"


def _kept(rows: Sequence[dict[str, str]], count: int, results: Path) -> str:
    """A line about the instances that have rows from earlier calls."""
    undecided = sum(row["result"] not in ("sat", "unsat") for row in rows)
    again = f"; {undecided} of these are undecided: delete a row to run its instance again" if undecided else ""
    return f"{len(rows)} of {count} instances have rows in {results} and are not run again{again}"


def _row(onnx: str, vnnlib: str, timeout: float, answer: Answer) -> dict[str, str]:
    values = (onnx, vnnlib, f"{timeout:g}", answer.status, f"{answer.seconds:.3f}", str(answer.branches), answer.reason)
    return dict(zip(_HEADING, values, strict=True))


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
    """The rows of a csv of results; none if there is no file. Raises: InputError if it is another file, or a row is damaged."""
    if not results.exists():
        return []
    lines = _csv_rows(results)
    columns = ",".join(_HEADING)
    if not lines or tuple(lines[0]) != _HEADING:
        raise InputError(f"{results} is no csv of results with the columns {columns}: give another --results")
    for number, row in enumerate(lines[1:], start=2):
        if not _is_result(row):
            given = shown(",".join(row))
            raise InputError(
                f"{results}, row {number}: expected {columns}, got {given}: delete it, and its instance is run again"
            )
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


def in_vnncomp_form(rows: Sequence[dict[str, str]], category: str) -> str:
    """A csv as the scripts of VNN-COMP write it: category, onnx, vnnlib, seconds of preparation, result, seconds; no heading."""
    text = io.StringIO()
    kept = [(category, row["onnx"], row["vnnlib"], "0", row["result"], row["seconds"]) for row in rows]
    csv.writer(text, lineterminator="\n").writerows(kept)
    return text.getvalue()


def summary(rows: Sequence[dict[str, str]]) -> str:
    """The number of instances of each status, and their time, in a line."""
    counts = {status: sum(row["result"] == status for row in rows) for status in STATUSES}
    counted = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{len(rows)} instances: {counted or 'none'}; {sum(float(row['seconds']) for row in rows):.1f} s"
