"""The output of --dry_run of searches and trainings, also if the data are absent or too large."""

import dataclasses
import json
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl.flags import FlagValues

from dsrna_jax.commands.command import Flag
from dsrna_jax.errors import AbsentDataError, InputError, TooMuchDataError

MEASURE = Flag("with --dry_run: compile, call each program a few times, and estimate the time of the run", False)


class PlannedPart(NamedTuple):
    """A run that is planned.

    setup_of: published -> the setup of the run, on its data or, if that is given, on a stand-in for them.
    report: setup -> text.
    times: setup -> lines about the time that the run takes, which are measured; None if they are not asked for.
    without_data: (image shape, classes) -> the report if the number of images is not known.
    heading: a line above its report, which is then indented; empty for a run that is planned by itself.
    """

    setup_of: Callable[[Any], Any]
    report: Callable[[Any], str]
    without_data: Callable[[tuple[int, int, int], int], str]
    times: Callable[[Any], list[str]] | None = None
    heading: str = ""


def check_measure(values: FlagValues) -> None:
    """Raises: InputError if --measure was given without --dry_run."""
    if values.measure and not values.dry_run:
        raise InputError("measure goes with --dry_run: a run shows how long it takes")


def planned(config: Any, parts: Sequence[PlannedPart]) -> str:
    """The resolved configuration and the report of each part, as text, and a line that begins with WARN for each problem.

    Args:
      config: of all parts together.
    Raises: InputError if the configuration cannot be used.
    """
    from dsrna_jax.data.parts import parsed
    from dsrna_jax.data.published import published_training_split
    from dsrna_jax.data.tfds import published_shape

    described = json.dumps({"config": dataclasses.asdict(config)}, indent=2)
    try:
        setup = parts[0].setup_of(None)
    except (AbsentDataError, TooMuchDataError) as problem:
        warnings = [f"WARN: {problem}"]
        try:
            stand_in = published_training_split(config.dataset, config.image_size, config.examples)
            published = published_shape(parsed(config.dataset)[0], config.image_size) if stand_in is None else None
        except InputError:  # digits or a folder, which have no published size
            if isinstance(problem, AbsentDataError):
                raise
            return "\n".join([described, *warnings])
        if published is not None:
            numbers = [_under(part.heading, part.without_data(*published)) for part in parts]
            return "\n".join([described, *numbers, "steps and memory are not known without the data", *warnings])
        if isinstance(problem, AbsentDataError) and config.loading == "memory":
            warnings += _too_large(stand_in)
        return "\n".join([described, *_reports(parts, stand_in), *warnings])
    resolved = setup.resolved | {"config": dataclasses.asdict(config)}
    return "\n".join([json.dumps(resolved, indent=2), *_reports(parts, None)])


def _reports(parts: Sequence[PlannedPart], stand_in: Any) -> list[str]:
    """The report of each part; one with the programs of an earlier one refers to it."""
    known, lines = {}, []
    for part in parts:
        setup = part.setup_of(stand_in)
        first = known.setdefault(repr(setup.identity), part.heading)
        if first != part.heading:
            lines.append(_under(part.heading, f"as {first}"))
            continue
        report = part.report(setup)
        if part.times and "\nWARN" in report:
            report += "\nWARN: the time is not measured, since the memory may not suffice"
        elif part.times:
            report = "\n".join([report, *part.times(setup)])
        lines.append(_under(part.heading, report))
    return lines


def _under(heading: str, text: str) -> str:
    """The text under its heading, indented but for warnings."""
    is_indented = lambda line: not line.startswith("WARN")  # noqa: E731
    return f"{heading}\n{textwrap.indent(text, '  ', is_indented)}" if heading else text


def _too_large(dataset: Any) -> list[str]:
    """A warning if the data set is too large to be loaded."""
    from dsrna_jax.data.decoding import check_memory

    try:
        check_memory(dataset.images.shape, f"{dataset.name} train")
    except TooMuchDataError as problem:
        return [f"WARN: {problem}"]
    return []
