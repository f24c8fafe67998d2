"""The status of a sweep in a table: each job with its state, its epochs, its accuracy on held-out images and its time."""

import time
from collections.abc import Sequence
from pathlib import Path

from dsrna_jax import strict_json
from dsrna_jax.errors import InputError
from dsrna_jax.runtime import records
from dsrna_jax.runtime.paths import CONFIG
from dsrna_jax.runtime.progress import clock
from dsrna_jax.strict_json import Nullable, Optional
from dsrna_jax.sweeps.jobs import Job
from dsrna_jax.sweeps.worker import JobState, state_of

_ROW = {"epoch": Optional(int), "val_accuracy": Optional(Nullable(float))}


def table(jobs: Sequence[Job], sweep: Path) -> str:
    """One line a job, under a line of headings. Raises: InputError if the record of a job is garbled."""
    rows = [("job", "state", "starts", "epoch", "accuracy", "time", "")]
    for job in jobs:
        now = state_of(sweep, job.name)
        rows.append((job.name, now.state, str(now.attempts), *_results(job.folder(sweep)), _time(now), now.message))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _results(folder: Path) -> tuple[str, str]:
    """Epochs done of all, and the last accuracy on held-out images, of a search or a training; empty where there are none."""
    try:
        epochs = strict_json.read(folder / CONFIG, {"config": {"epochs": int}})["config"]["epochs"]
        row = ([{}] + records.rows(folder / "metrics.jsonl", lambda row: _ROW))[-1]
    except (FileNotFoundError, NotADirectoryError, InputError):
        return "", ""
    accuracy = row.get("val_accuracy")
    return f"{row.get('epoch', 0)}/{epochs}", "" if accuracy is None else f"{100 * accuracy:.1f} %"


def _time(job: JobState) -> str:
    """The time of all starts."""
    return "" if job.began is None else clock(job.seconds(time.time()))
