"""Differentiable search for robust neural architectures (DSRNA, CVPR 2021) in JAX.

    attacks         attacks on any JAX function: pure functions of one shape
    bounds          certified bounds of any JAX function: `bound`, `margin`, `certified_radius`, `deviation`, `explain`
    jacobian_norm   norm of the Jacobian of any JAX function for each example, exact or estimated without bias
    measures        robustness measures R, which a search maximises
    genotypes, zoo  cells as plain data; the published ones by name
    networks        supernets, and the networks that genotypes describe
    restore         trained networks from their checkpoints
    pretrained      small trained networks that ship with the package, by name
    evaluation      accuracy under attack, certified radii
    interchange     networks of ONNX files, properties of VNNLIB files
    plots           cells, curves, attacked images
    data            data sets, splits, augmentation
    errors          exceptions that a user can cause

Importing the package imports none of these, and no JAX: each is imported when it is first used.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax import attacks, bounds, data, errors, evaluation, genotypes, interchange, measures, networks, plots
    from dsrna_jax.genotypes import zoo
    from dsrna_jax.measures.jacobian import jacobian_norm
    from dsrna_jax.training import restore
    from dsrna_jax.training.pretrained import pretrained

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "attacks",
    "bounds",
    "data",
    "errors",
    "evaluation",
    "genotypes",
    "interchange",
    "jacobian_norm",
    "measures",
    "networks",
    "plots",
    "pretrained",
    "restore",
    "zoo",
]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "jacobian_norm": "measures.jacobian:jacobian_norm",
        "pretrained": "training.pretrained:pretrained",
        "restore": "training.restore",
        "zoo": "genotypes.zoo",
    },
)
