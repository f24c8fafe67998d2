"""The output of --dry_run of searches and trainings, also if the data are absent or too large."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from dsrna_jax.errors import AbsentDataError, InputError, TooMuchDataError


def planned(
    config: Any,
    setup_of: Callable[..., Any],
    report: Callable[[Any], str],
    without_data: Callable[[tuple[int, int, int], int], str],
) -> str:
    """The resolved configuration and the report of a run, as text, and a line that begins with WARN for each problem.

    Args:
      setup_of: (config, published) -> the setup of the run, on its data or, if that is given, on a stand-in for them.
      report: setup -> text.
      without_data: (image shape, classes) -> the report if the number of images is not known.
    Raises: InputError if the configuration cannot be used.
    """
    from dsrna_jax.data.parts import parsed
    from dsrna_jax.data.published import published_training_split
    from dsrna_jax.data.tfds import published_shape

    described = json.dumps({"config": dataclasses.asdict(config)}, indent=2)
    try:
        setup = setup_of(config, None)
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
            numbers = without_data(*published)
            return "\n".join([described, numbers, "steps and memory are not known without the data", *warnings])
        if isinstance(problem, AbsentDataError) and config.loading == "memory":
            warnings += _too_large(stand_in)
        return "\n".join([described, report(setup_of(config, stand_in)), *warnings])
    return f"{json.dumps(setup.resolved, indent=2)}\n{report(setup)}"


def _too_large(dataset: Any) -> list[str]:
    """A warning if the data set is too large to be loaded."""
    from dsrna_jax.data.decoding import check_memory

    try:
        check_memory(dataset.images.shape, f"{dataset.name} train")
    except TooMuchDataError as problem:
        return [f"WARN: {problem}"]
    return []
