"""Small trained networks that ship with the package, by name."""

from typing import TYPE_CHECKING, overload

from dsrna_jax.errors import InputError, shown
from dsrna_jax.extras import packages_for
from dsrna_jax.training.shipped import FOLDER, names

if TYPE_CHECKING:
    from dsrna_jax.training.restore import TrainedNetwork


@overload
def pretrained() -> tuple[str, ...]:
    """The names of all pretrained networks."""


@overload
def pretrained(name: str) -> "TrainedNetwork":
    """The pretrained network of that name."""


def pretrained(name: str | None = None) -> "tuple[str, ...] | TrainedNetwork":
    """A small trained network that ships with the package; without a name, the names of all of them.

    digits_dsrna_cb, digits_dsrna_jacobian: cells that DSRNA found on the handwritten digits (8x8 pixels).
    digits_pcdarts: the cell that PC-DARTS published.
    Each is there after standard training, and as NAME_adversarial after adversarial training (PGD-7, l-infinity 0.1).

    Returns what `training.restore.load` does of a run: `pretrained(name).logits_fn` takes images [batch, 8, 8, 1] in [0, 1].
    Raises: InputError if there is no network of that name, or if packages of the extra `search` are missing.
    """
    if name is None:
        return names()
    if name not in names():
        raise InputError(f"there is no pretrained network {shown(name)}: expected one of {', '.join(names())}")
    with packages_for("pretrained networks"):
        from dsrna_jax.training import restore
    return restore.load(FOLDER / f"{name}.safetensors")
