"""The configuration of a certification: one frozen dataclass, from which flags are made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dsrna_jax.bounds import METHODS
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import check, option
from dsrna_jax.training.adversarial_options import ATTACK_NORMS

SMOOTHING, VERIFY = "smoothing", "verify"
_OF_BOUNDS = f"method!={SMOOTHING} and method!={VERIFY}"


@dataclasses.dataclass(frozen=True)
class CertificationConfig:
    """The certificates of a network, the attack they are compared with, and the images.

    The default method is the tightest that is affordable for a whole network; `bounds` itself defaults to a cheaper one.
    """

    norm: str = option("linf", "norm of the perturbations", ATTACK_NORMS)
    method: str = option("hz_crown", "method of bounds, verify (exact where it can, linf), or smoothing (randomised, l2)",
                         (*METHODS, VERIFY, SMOOTHING))  # fmt: skip
    arithmetic: str = option("evaluated", "bounds hold for the network as evaluated, with rounding, or in exact arithmetic",
                             ("evaluated", "exact"), of=_OF_BOUNDS)  # fmt: skip
    examples: int = option(100, "images, drawn by the seed, the same as in an attack; 0 for all", "[0, 1e9]")
    batch_size: int = option(10, "images certified at a time; each batch is recorded when it is done", "[1, 1e6]")
    clip: bool = option(True, "perturbed pixels stay in [0, 1], as those of attacks do; CNN-Cert lets them leave",
                        of="method!=smoothing")  # fmt: skip
    chunk: int = option(64, "entries bounded at a time (crown, fastlin), or noisy images of an example (smoothing)", "[1, 65536]",
                        of="method!=verify")  # fmt: skip
    per_target: bool = option(True, "radii against single targets too, as CNN-Cert reports them: twice the time", of=_OF_BOUNDS)
    tries: int = option(20, "most radii tried for an example and target", "[1, 1000]", of="method!=smoothing")
    timeout: float = option(60.0, "seconds for a radius tried, of an image (verify)", "(0, 1e9]", of="method=verify")
    attack: str = option("pgd", "attack that looks for the smallest perturbation, an upper bound of the radius",
                         ("pgd", "fab", "ddn", "cw", "none"), of=_OF_BOUNDS)  # fmt: skip
    attack_steps: int = option(40, "steps of the attack; of pgd for each of ten radii", "[1, 1e5]", of="attack")
    sigma: float = option(0.25, "standard deviation of the noise, in pixel units (smoothing)", "[1e-6, 1e3]",
                          of="method=smoothing")  # fmt: skip
    n0: int = option(100, "draws that choose the class (smoothing)", "[1, 1e9]", of="method=smoothing")
    n: int = option(10_000, "draws that prove it (smoothing); Cohen et al. take 100,000", "[1, 1e9]",
                    of="method=smoothing")  # fmt: skip
    alpha: float = option(0.001, "probability that a radius is wrong (smoothing)", "(0, 1)", of="method=smoothing")
    split: str = option("test", "images: test, held_out (of the training), or a split that tfds knows, such as validation")
    data_dir: str = option("", "prepared tfds folder, if another than that of the training")
    seed: int = option(0, "seed of the choice of images, of random targets, attacks and noise", "[0, 4294967295]")

    def __post_init__(self):
        check(self)
        if self.method == SMOOTHING and self.norm != "l2":
            raise InputError(f"method=smoothing with norm={self.norm}: it certifies l2 balls only; give --norm=l2")
        if self.method == VERIFY and self.norm != "linf":
            raise InputError(f"method=verify with norm={self.norm}: it decides boxes, the balls of linf; give --norm=linf")
        if self.attack in ("ddn", "cw") and self.norm != "l2":
            raise InputError(f"attack={self.attack} with norm={self.norm}: expected pgd or fab, or --norm=l2")


def is_exact(result: Mapping[str, Any]) -> bool:
    """Whether the bounds of a certify.json are in exact arithmetic; earlier versions may say so of no bounds."""
    return result["config"].get("arithmetic") == "exact" and result["method"] not in (SMOOTHING, VERIFY)


def upper_bound(result: Mapping[str, Any]) -> str:
    """The source of the "attack_radius" in a certify.json: the verifier, with its counterexamples, or the name of the attack."""
    return "the verifier" if result["method"] == VERIFY else result["config"]["attack"]
