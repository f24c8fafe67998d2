"""The figures that `make gpu` measures, by their names; each is a function (size, side of images) -> a row of numbers."""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.search.run import run
from experiments.benchmarks import timing
from experiments.benchmarks.sub_networks import sub_network_costs
from experiments.gpu import rates
from experiments.gpu.programs import CERTIFIED, GENOTYPE, JACOBIAN, SIZES, Size

PARTS = ("see", "tests", "steps", "search")
TESTED = (
    "kernels/test_pointwise.py",
    "kernels/test_depthwise.py",
    "kernels/test_precision.py",
    "kernels/test_mixed_precision.py",
    "networks/test_remat.py",
    "measures/test_jacobian.py",
    "bounds/test_bounds_truth.py",
    "attacks/test_attacks.py",
    "runtime/test_checkpoint.py",
)
"""Files of tests of what a GPU can break."""
IMAGES = 25_000  # of CIFAR-10, in each half


class Figure(NamedTuple):
    """A figure of one of the `PARTS`."""

    part: str
    measure: Callable[[Size, int], dict[str, Any]]


def measured(name: str, size: str) -> dict[str, Any]:
    """The row of a figure at a size of `SIZES`; images are those of CIFAR-10, or 8 pixels a side at "tiny"."""
    return FIGURES[name].measure(SIZES[size], 8 if size == "tiny" else 32)


def _tests(size: Size, side: int) -> dict[str, Any]:
    """Numbers of tests that pass and fail, and the names of the first of these."""
    root = Path(__file__).parents[2]
    files = [f"tests/{name}" for name in (TESTED if side > 8 else TESTED[:1])]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    if not counts:
        raise RuntimeError((done.stderr or done.stdout).strip()[-300:] or "pytest said nothing")
    return {"passed": 0, "failed": 0} | counts | {"names": re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)[:8]}


def _step(preset: str, **changes: Any) -> Callable[[Size, int], dict[str, Any]]:
    """A search step, and the minutes of a whole search of that preset by its parts."""

    def measure(size, side):
        config = dataclasses.replace(PRESETS[preset], batch_size=size.batch_size, **size.supernet, **changes)
        row = timing.search_step_cost(config, side, repeats=10)
        steps = IMAGES // config.batch_size
        whole = (config.epochs - config.warmup_epochs) * steps * row["step_ms"]
        minutes = (whole + config.warmup_epochs * steps * row["weight_gradient_ms"]) / 60_000
        return row | {"minutes": round(minutes, 1), "epochs": config.epochs}

    return measure


def _derived(cost: Callable[..., dict[str, Any]], *more: Any, **changes: Any) -> Callable[[Size, int], dict[str, Any]]:
    """A cost of `timing` for a derived network of that size."""

    def measure(size, side):
        config = dataclasses.replace(PRESETS["smoke"], space="darts", batch_size=size.batch_size, **size.derived, **changes)
        return cost(config, side, GENOTYPE, *more, repeats=10)

    return measure


def _attack(size: Size, side: int) -> dict[str, Any]:
    return _derived(timing.attack_cost, size.steps)(size, side)


def _margins(size: Size, side: int) -> dict[str, Any]:
    return _derived(timing.bounds_cost, size.method)(size, side)


def _sub_network(size: Size, side: int) -> dict[str, Any]:
    """The cost of a sampled sub-network beside that of the supernet: shares, of which the goal is a quarter."""
    config = dataclasses.replace(PRESETS["cifar10_random"], batch_size=size.batch_size, **size.supernet)
    return {row["part"]: row for row in sub_network_costs(config, side, repeats=3)}


def _search(preset: str) -> Callable[[Size, int], dict[str, Any]]:
    """A search by the settings of a preset, first order, on the digits: milliseconds a step, evaluations and files included."""

    def measure(size, side):
        epochs = 2 if side == 8 else 20
        settings = {"dataset": "digits", "image_size": side, "order": "first", "epochs": epochs, "warmup_epochs": epochs // 4}
        config = dataclasses.replace(PRESETS[preset], batch_size=size.batch_size, **size.supernet, **settings)
        with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "said", "w", encoding="utf-8") as said:
            run(config, Path(folder) / "run", devices=1, file=said)
            row = json.loads((Path(folder) / "run" / "timing.jsonl").read_text().splitlines()[-1])
        steps = row["step"] - row["first_step"]
        return {"batch_size": config.batch_size, "steps": steps, "ms_a_step": round(1e3 * row["search_s"] / steps, 1)} | row

    return measure


FIGURES = {
    "card": Figure("see", rates.card),
    "convolutions": Figure("see", rates.convolutions),
    "tests": Figure("tests", _tests),
    "search_step_jacobian": Figure("steps", _step(JACOBIAN, order="first")),
    "search_step_jacobian_bfloat16": Figure("steps", _step(JACOBIAN, order="first", precision="bfloat16")),
    "search_step_jacobian_unrolled": Figure("steps", _step(JACOBIAN)),
    "search_step_certified": Figure("steps", _step(CERTIFIED, order="first")),
    "training_step": Figure("steps", _derived(timing.training_step_cost)),
    "training_step_bfloat16": Figure("steps", _derived(timing.training_step_cost, precision="bfloat16")),
    "attack": Figure("steps", _attack),
    "bounds": Figure("steps", _margins),
    "sub_network": Figure("steps", _sub_network),
    "search_jacobian": Figure("search", _search(JACOBIAN)),
    "search_certified": Figure("search", _search(CERTIFIED)),
}
