"""Options of searches that are a series of searches: the stages of P-DARTS, the weight decays of R-DARTS and of DARTS-ADA."""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple

from dsrna_jax.errors import InputError, shown
from dsrna_jax.runtime.options import option


class Stage(NamedTuple):
    """A stage of P-DARTS: the cells of its supernet, the operations of each edge, and the first rate of dropout of identities."""

    cells: int
    operations: int
    skip_dropout: float


@dataclasses.dataclass(frozen=True)
class SeriesOptions:
    """The members of a series, each a search of `epochs` epochs in a folder of its own; by default there is one search."""

    section: ClassVar[str] = "series of searches"

    stages: str = option(
        "", "cells:operations:skip_dropout of the searches of a series, as 5:8:0,11:5:0.4,17:3:0.7 (P-DARTS); empty for one",
        before="",
        in_programs="none",
    )  # fmt: skip
    weight_decays: str = option(
        "", "weight decays of the searches of a series, as 3e-4,9e-4, whose best cell is chosen (R-DARTS); empty for one",
        before="",
        in_programs="none",
    )  # fmt: skip
    adapt_factor: float = option(
        0.0,
        "factor of the weight decay with which a search goes on where its eigenvalue has risen (DARTS-ADA); 0 for one search",
        "[0, 1e6]",
        before=0.0,
        in_programs="none",
    )
    adapt_most: float = option(
        0.03, "largest weight decay of such a series", "[0, 1e6]", before=0.03, in_programs="none", of="adapt_factor"
    )
    retrain_epochs: int = option(
        25,
        "epochs in which each of their cells is trained on search_train, to be judged on search_val",
        "[1, 1e6]",
        before=25,
        in_programs="none",
        of="weight_decays",
    )
    retrain_cells: int = option(8, "cells of that network", "[3, 200]", before=8, in_programs="none", of="weight_decays")
    retrain_channels: int = option(
        16, "channels of its first cell", "[1, 4096]", before=16, in_programs="none", of="weight_decays"
    )

    @property
    def is_series(self) -> bool:
        """Whether the search is a series of searches."""
        return bool(self.stages or self.weight_decays or self.adapt_factor)


def stages_of(config: Any) -> tuple[Stage, ...]:
    """The stages of a configuration. Raises: InputError, in one line, unless each follows from the one before."""
    stages, most = [], len(config.primitives)
    for part in config.stages.split(","):
        numbers = [_number(text) for text in part.split(":")]
        if len(numbers) != 3 or None in numbers or numbers[0] % 1 or numbers[1] % 1:
            raise InputError(f"stages has {shown(part)}: expected cells:operations:skip_dropout, such as 11:5:0.4")
        stages.append(Stage(int(numbers[0]), int(numbers[1]), numbers[2]))
    for stage, before in zip(stages, [None, *stages], strict=False):
        if not (3 <= stage.cells <= 200 and 0 <= stage.skip_dropout < 1):
            text = ":".join(f"{number:g}" for number in stage)
            raise InputError(f"stages has {text!r}: expected 3 to 200 cells, and dropout of identities in [0, 1)")
        if before is None and stage.operations != most:
            raise InputError(f"stages begin with {stage.operations} operations: expected {most}, all of space={config.space}")
        if before is not None and stage.operations > before.operations:
            raise InputError(f"stages have {stage.operations} operations after {before.operations}: expected no more than before")
        if stage.operations < 2:
            raise InputError(f"stages have {stage.operations} operations: expected at least 2, of which a search chooses")
    return tuple(stages)


def weight_decays_of(config: Any) -> tuple[float, ...]:
    """The weight decays of a configuration. Raises: InputError unless they are two or more different ones, none negative."""
    decays = tuple(_number(text) for text in config.weight_decays.split(","))
    if None in decays or len(set(decays)) != len(decays) or len(decays) < 2 or min(decays) < 0:
        raise InputError(f"weight_decays={shown(config.weight_decays)}: expected two or more different numbers, as 3e-4,9e-4")
    return decays


def check_series(config: Any) -> None:
    """Raises: InputError if options of a series do not go together, or with those of its searches."""
    kinds = [name for name in ("stages", "weight_decays", "adapt_factor") if getattr(config, name)]
    if len(kinds) > 1:
        raise InputError(f"{' and '.join(kinds)} are kinds of series: expected one of them")
    if config.is_series and config.strategy != "gradient":
        raise InputError(f"strategy={config.strategy!r} is no search of a series: expected strategy=gradient")
    if config.weight_decays:
        weight_decays_of(config)
    if config.adapt_factor:
        _check_adaptive(config)
    if not config.stages:
        return
    stages_of(config)
    if config.warmup_epochs >= config.epochs:
        raise InputError(
            f"stages with warmup_epochs={config.warmup_epochs} of epochs={config.epochs}: expected fewer, since alphas that "
            "never move rank no operations"
        )
    for name, value in {"operations": "", "skip_dropout": 0.0}.items():
        if (given := getattr(config, name)) != value:
            raise InputError(f"{name}={given!r} with stages: expected {name}={value!r}, since each stage sets its own operations")


def _check_adaptive(config: Any) -> None:
    if config.adapt_factor <= 1 or not config.weight_decay:
        raise InputError(
            f"adapt_factor={config.adapt_factor} of weight_decay={config.weight_decay}: expected more than 1, of a positive decay"
        )
    if not config.stop_eigenvalue:
        raise InputError("adapt_factor raises the weight decay where the eigenvalue has risen: expected stop_eigenvalue, as 1.3")


def _number(text: str) -> Any:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
