"""Options of the steps of the alphas: their gradient, their optimiser, and what disturbs the mixtures in weight steps."""

import dataclasses
from typing import ClassVar

from dsrna_jax.runtime.options import option

_PERTURBATIONS = ("none", "uniform", "adversarial")


@dataclasses.dataclass(frozen=True)
class AlphaOptions:
    """Alphas by DARTS (the defaults), under the perturbations of SmoothDARTS."""

    section: ClassVar[str] = "alphas"

    order: str = option("first", "hypergradient", ("first", "unrolled", "unrolled_fd"), of="strategy=gradient")
    alpha_lr: float = option(3e-3, "learning rate of the alphas (Adam, betas .5 and .999)", "[0, 1e6]", of="strategy=gradient")
    alpha_clip: float = option(
        0.0, "largest norm of the gradient of the alphas; 0 for any", "[0, 1e30]", before=0.0, of="strategy=gradient"
    )
    alpha_decay: float = option(1e-3, "L2 decay of the alphas", "[0, 1e6]", of="strategy=gradient")
    perturbation: str = option(
        "none",
        "change of the mixtures in a weight step: uniform (SDARTS-RS), adversarial (SDARTS-ADV)",
        _PERTURBATIONS,
        before="none",
        of="strategy=gradient",
    )
    perturbation_start: float = option(0.03, "size of that change in the first epoch", "[0, 1]", before=0.03, of="perturbation")
    perturbation_radius: float = option(
        0.3, "size of that change that is reached after the last epoch", "[0, 1]", before=0.3, of="perturbation"
    )
    perturbation_steps: int = option(7, "steps of the adversarial change", "[1, 1000]", before=7, of="perturbation=adversarial")
