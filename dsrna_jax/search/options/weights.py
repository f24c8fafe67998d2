"""Options of the length of a search, of its batches, and of the optimiser of its weights."""

import dataclasses
from typing import Any, ClassVar

from dsrna_jax.errors import InputError
from dsrna_jax.runtime.options import option


@dataclasses.dataclass(frozen=True)
class WeightOptions:
    """Epochs, batches from two halves of the training images, and SGD."""

    section: ClassVar[str] = "epochs, batches and weights"

    epochs: int = option(15, "passes over the search_train half; 0 for children without a supernet", "[0, 1e6]")
    warmup_epochs: int = option(3, "epochs in which the alphas are frozen", "[0, 1e6]", most="<epochs")
    batch_size: int = option(64, "images per step, from each half", "[1, 1e6]")
    batch_norm: str = option(
        "batch", "batch norm in steps: by the whole batch, or by each device's part of it", ("batch", "device"), before="batch"
    )
    train_share: float = option(
        0.5, "share of the training images from which weights learn", "(0, 1)", before=0.5, in_programs="none"
    )
    val_share: float = option(
        0.5, "share of the training images from which alphas learn", "(0, 1)", before=0.5, in_programs="none"
    )
    weight_lr: float = option(0.1, "learning rate of the weights (SGD), annealed by a cosine per epoch", "[0, 1e6]")
    weight_lr_min: float = option(0.0, "learning rate at the end of the cosine", "[0, 1e6]")
    weight_lr_warmup_epochs: int = option(
        0, "epochs in which that learning rate rises to its cosine", "[0, 1e6]", before=0, most="epochs"
    )
    momentum: float = option(0.9, "momentum of the weights", "[0, 1)")
    weight_decay: float = option(3e-4, "L2 decay of the weights", "[0, 1e6]", in_programs="argument")
    clip: float = option(5.0, "largest norm of the weight gradient", "[1e-30, 1e30]")
    seed: int = option(0, "seed of weights, alphas, halves, batches and projections", "[0, 4294967295]", in_programs="none")


def check_weights(config: Any) -> None:
    """Raises: InputError if these options of a search configuration do not go together."""
    if config.train_share + config.val_share > 1:
        raise InputError(
            f"train_share={config.train_share} and val_share={config.val_share} overlap: expected at most 1 in sum, because "
            "weights and alphas learn from different images"
        )
