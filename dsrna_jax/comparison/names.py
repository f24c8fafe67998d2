"""Names of the rows of a comparison: architecture or method, data, kind of training, and settings in which rows differ."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dsrna_jax.comparison.identity import origin, search_settings, settings
from dsrna_jax.comparison.runs import STOPPED, FinishedTraining
from dsrna_jax.evaluation.attack.budgets import pixels
from dsrna_jax.search.axes import ALWAYS, OTHERS, method_of

_NAMED = ("dataset", "image_size", "adversarial", "norm", "radius", STOPPED)  # settings that every name has
_NAMED_OF_SEARCH = (*ALWAYS, *OTHERS, "dataset", "image_size", STOPPED)


def names(groups: list[list[FinishedTraining]]) -> list[str]:
    """The name of each group: architecture or method, data, kind of training, and settings in which groups of these differ."""
    labels = []
    for group in groups:
        others = [other[0] for other in groups if _called(other[0]) == _called(group[0])]
        own, of_search = settings(group[0]), search_settings(group[0])
        differing = [f"{field.replace('_', ' ')} {_short(own[field])}" for field in own if field not in _NAMED
                     and _differs(field, map(settings, others))]  # fmt: skip
        differing += [f"search {field.replace('_', ' ')} {_short(of_search[field])}" for field in of_search
                      if field not in _NAMED_OF_SEARCH and _differs(field, map(search_settings, others))]  # fmt: skip
        name, data, training = _called(group[0])
        labels.append(f"{name}{_of_several(group)}; {', '.join([data, training, *differing])}")
    # Two architectures may have the same settings and the same name: then the folder is added.
    return [n if labels.count(n) == 1 else f"{n} ({g[0].path})" for n, g in zip(labels, groups, strict=True)]


def facet(run: FinishedTraining) -> str:
    """The data and the kind of training of a run: trainings of one facet compare with each other."""
    return f"{_data(asdict(run.config))}, {'adversarial' if run.config.is_adversarial else 'standard'} training"


def _differs(field: str, settings: Iterable[dict[str, Any]]) -> bool:
    return len({repr(each[field]) for each in settings if field in each}) > 1


def _called(run: FinishedTraining) -> tuple[str, str, str]:
    """Method of the search (its axes and data) or architecture, data, and kind of training."""
    name = _file_name(run)
    if run.search:
        axes = method_of(run.search.config)
        parts = [axes[axis] for axis in ALWAYS]
        parts += [f"{axis.replace('_', ' ')} {_short(value)}" for axis, value in axes.items() if axis not in ALWAYS]
        stopped = run.search.config.get(STOPPED)
        name = f"{', '.join(parts)}, searched on {_data(run.search.config)}{f', {STOPPED} {stopped}' if stopped else ''}"
    return name, _data(asdict(run.config)), _training(run)


def _of_several(group: list[FinishedTraining]) -> str:
    """The numbers of searches and trainings of a group, in brackets; for one search its folder; "" for one training."""
    searches, trainings = len({origin(run) for run in group}), len(group)
    parts = [f"{searches} searches"] if searches > 1 else [search.path.name] if (search := group[0].search) else []
    if trainings > searches:
        parts.append(f"{trainings} trainings")
    return f" ({', '.join(parts)})" if parts else ""


def _file_name(run: FinishedTraining) -> str:
    return Path(run.config.genotype).name.removesuffix(".json")


def _data(config: dict[str, Any]) -> str:
    size = config.get("image_size")
    return f"{config.get('dataset', '?')}{f' at {size}x{size}' if size else ''}"


def _training(run: FinishedTraining) -> str:
    config, end = run.config, "" if run.stopped is None else f", {STOPPED} {run.stopped}"
    if not config.is_adversarial:
        return f"standard{end}"
    return f"adversarial ({config.adversarial}, {config.norm} {pixels(config.radius, config.norm)}){end}"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
