"""Commands that evaluate a trained network, whose work is done by `dsrna_jax.evaluation.NAME.run`."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl.flags import FlagValues

from dsrna_jax.commands.command import CHECKPOINT, Command, Flag, checkpoint
from dsrna_jax.commands.flags import overridden


def evaluation_command(
    name: str,
    description: str,
    *,
    defaults: Any,
    base: Callable[[FlagValues], Any],
    folder: Callable[[Any], str],
    out: str,
    dry_run: str,
    report: Callable[[dict[str, Any], Path, FlagValues], str],
    own: Mapping[str, Flag] | None = None,
) -> Command:
    """The command of an evaluation; arguments as those of `Command`, and:

    base: flags -> the configuration that they override.
    folder: configuration -> the default name of the folder of results, in that of the training.
    out: help of --out.
    """

    def work() -> Any:
        return importlib.import_module(f"dsrna_jax.evaluation.{name}.run")

    def settings(values: FlagValues) -> tuple[Any, Path]:
        from dsrna_jax.evaluation.folder import home

        config, run = overridden(base(values), values), checkpoint(values)
        return config, Path(values.out) if values.out else home(run, folder(config))

    def plan(config: Any, values: FlagValues) -> str:
        return work().planned(config, checkpoint(values))

    def run(config: Any, out: Path, values: FlagValues) -> dict[str, Any]:
        return work().run(config, checkpoint(values), out, resume=values.resume, devices=values.devices)

    return Command(
        name=name,
        description=description,
        defaults=defaults,
        own={"checkpoint": CHECKPOINT, **(own or {}), "out": Flag(out)},
        dry_run=dry_run,
        settings=settings,
        plan=plan,
        run=run,
        report=report,
    )
