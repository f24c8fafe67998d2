"""The settings of a verification of a trained network: one frozen dataclass, from which flags are made."""

import dataclasses

from dsrna_jax.runtime.options import check, option


@dataclasses.dataclass(frozen=True)
class VerificationConfig:
    """The region around each image, the time for it, and the images; l-infinity balls within [0, 1]."""

    radius: float = option(0.01, "of the l-infinity ball around each image, in pixel units (0 to 1)", "(0, 1]")
    timeout: float = option(60.0, "seconds for an image, or in place of those in the csv of instances", "(0, 1e6]")
    examples: int = option(20, "images, drawn by the seed, the same as in an attack; 0 for all", "[0, 1e9]")
    split: str = option("test", "images: test, held_out (of the training), or a split that tfds knows, such as validation")
    data_dir: str = option("", "prepared tfds folder, if another than that of the training")
    seed: int = option(0, "seed of the choice of images", "[0, 4294967295]")

    def __post_init__(self):
        check(self)
