"""Options of adversarial training: the attack on the training images, and how its success is measured."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import option

ATTACK_NORMS = ("linf", "l2")  # those of `dsrna_jax.attacks`, which imports JAX
_STEPS = "adversarial=pgd|trades|mart"  # the kinds that attack by several steps
ADVERSARIES = ("none", "pgd", "fast", "trades", "mart", "free")


@dataclasses.dataclass(frozen=True)
class AdversarialOptions:
    """No attack by default; the sizes are those of the literature on CIFAR-10."""

    section: ClassVar[str] = "adversarial training"

    adversarial: str = option("none", "attack on the training images", ADVERSARIES)
    radius: float = option(8 / 255, "size of the perturbations, in pixel units (0 to 1)", "[0, 1e4]", of="adversarial")
    norm: str = option("linf", "norm of the perturbations", ATTACK_NORMS, of="adversarial")
    attack_steps: int = option(7, "steps of the attack in a training step (pgd, trades, mart)", "[1, 1e5]", of=_STEPS)
    attack_step: float = option(0.25, "size of one of these steps, as a share of the radius", "(0, 1e3]", of=_STEPS)
    attack_statistics: str = option(
        "running",
        "batch norm under attack: by running or batch statistics",
        ("running", "batch"),
        of="adversarial=pgd|fast|trades|mart",
    )
    radius_warmup_epochs: int = option(
        0, "epochs in which the radius grows from zero", "[0, 1e6]", of="adversarial", most="epochs"
    )
    replays: int = option(8, "weight updates for each batch (free)", "[1, 1e4]", of="adversarial=free")
    beta: float = option(6.0, "weight of the robust term (trades, mart)", "[0, 1e6]", of="adversarial=trades|mart")
    val_attack_steps: int = option(
        10, "steps of the PGD that measures robust accuracy on the held-out images", "[1, 1e5]", of="adversarial and held_out"
    )
    collapse: float = option(
        0.2,
        "fall of held-out robust accuracy from its best at which training stops; 0 for never",
        "[0, 1]",
        in_programs="none",
        of="adversarial and held_out",
    )

    @property
    def is_adversarial(self) -> bool:
        """Whether training images are attacked."""
        return self.adversarial != "none"


def check_adversarial(config: Any) -> None:
    """Raises: InputError if these options of a training configuration do not go together."""
    if config.norm == "linf" and config.radius > 1:
        raise InputError(f"radius={config.radius}: expected at most 1, because pixels are in [0, 1]; for 8/255 give 0.0314")
    if config.adversarial == "free" and config.norm != "linf":
        raise InputError(f"adversarial='free' with norm={config.norm!r}: expected norm='linf', or another kind of training")
