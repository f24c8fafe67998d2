"""The configuration of an evaluation under attack: one frozen dataclass, from which flags and tiers are made."""

import dataclasses

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.compute_options import PRECISIONS
from dsrna_jax.runtime.options import check, option
from dsrna_jax.training.adversarial_options import ATTACK_NORMS

DEFAULT_RADII = {"linf": 8 / 255, "l2": 0.5}  # the threat models of RobustBench on CIFAR-10


@dataclasses.dataclass(frozen=True)
class AttackConfig:
    """The attacks on a network, and the images that are attacked."""

    tier: str = option(
        "paper",
        "smoke: a quick look; paper: FGSM, PGD-10, -20, -100, C&W, DDN and AutoAttack; standard: AutoAttack alone",
        ("smoke", "paper", "standard"),
    )
    norm: str = option("linf", "norm of the perturbations", ATTACK_NORMS)
    radius: float = option(0.0, "size of the perturbations in pixel units; 0 for 8/255 in linf and 0.5 in l2", "[0, 1e4]")
    cw_radius: float = option(0.5, "l2 size up to which a perturbation of C&W or DDN counts as a success", "[0, 1e4]")
    attacks: str = option("", "further attacks of dsrna_jax.attacks, each with its default options: names, separated by commas")
    restarts: int = option(5, "random starts of PGD, of which the worst counts", "[1, 1e4]", of="tier!=standard")
    last_iterate: bool = option(False, "also PGD of one start whose last iterate alone counts, as papers do", before=False,
                                of="tier!=standard")  # fmt: skip
    examples: int = option(1000, "images, drawn by the seed; 0 for all", "[0, 1e9]")
    probe_examples: int = option(128, "the first of these, for the sanity checks and the curve over radii", "[1, 1e9]")
    batch_size: int = option(128, "images per step", "[1, 1e6]")
    precision: str = option("float32", "type of the maps in the attacked network", PRECISIONS, before="float32")
    split: str = option("test", "images: test, held_out (of the training), or a split that tfds knows, such as validation")
    surrogate: str = option("", "folder of another training, such as another seed, whose gradients make one more sanity check")
    data_dir: str = option("", "prepared tfds folder, if another than that of the training")
    seed: int = option(0, "seed of the choice of images and of the attacks", "[0, 4294967295]")

    def __post_init__(self):
        check(self)
        if self.norm == "linf" and self.radius > 1:
            raise InputError(f"radius={self.radius}: expected at most 1, because pixels are in [0, 1]; for 8/255 give 0.0314")

    @property
    def size(self) -> float:
        """`radius`, or the default of the norm; in pixel units."""
        return self.radius or DEFAULT_RADII[self.norm]


TIERS = {
    "smoke": AttackConfig(tier="smoke", restarts=1, examples=64, probe_examples=64, batch_size=64),
    "paper": AttackConfig(),
    "standard": AttackConfig(tier="standard"),
}
