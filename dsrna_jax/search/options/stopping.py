"""Options that end a search early, before it collapses into skip connections."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import option


@dataclasses.dataclass(frozen=True)
class StoppingOptions:
    """The rules of DARTS+ and DARTS-ES; by default a search goes on to its end."""

    section: ClassVar[str] = "early stopping"

    stop_skips: int = option(
        0,
        "skip connections in the normal cell at which the search stops (DARTS+); 0 for never",
        "[0, 32]",
        before=0,
        in_programs="none",
        of="strategy=gradient",
    )
    stop_stable: int = option(
        0,
        "epochs without a change in the ranking of the operations after which the search stops (DARTS+); 0 for never",
        "[0, 1e6]",
        before=0,
        in_programs="none",
        of="strategy=gradient",
    )
    stop_eigenvalue: float = option(
        0.0,
        "factor of the dominant eigenvalue's rise at which the search stops and returns an earlier cell (DARTS-ES); 0 for never",
        "[0, 1e6]",
        before=0.0,
        in_programs="none",
        of="strategy=gradient",
    )
    stop_eigenvalue_from: int = option(
        10, "earliest epoch whose cell it then returns", "[1, 1e6]", before=10, in_programs="none", of="stop_eigenvalue"
    )
    eigenvalue_every: int = option(
        5,
        "epochs from one measurement of the dominant eigenvalue of the alphas' Hessian to the next; 0 for never",
        "[0, 1e6]",
        before=0,
        in_programs="none",
        of="strategy=gradient",
    )


def check_stopping(config: Any) -> None:
    """Raises: InputError if these options of a search configuration do not go together."""
    if config.stop_eigenvalue and not config.eigenvalue_every:
        raise InputError(
            f"stop_eigenvalue={config.stop_eigenvalue} needs eigenvalues: expected eigenvalue_every of at least 1, such as 2"
        )
