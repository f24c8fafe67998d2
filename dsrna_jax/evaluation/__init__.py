"""Trained networks under attack, their certificates, and their export.

    evaluate         accuracy of a network under a list of attacks
    certified_radii  radii that bounds certify, for each rival class and the least
    attack_radii     radii that an attack reaches
    smoothing        module of randomised smoothing
    export_onnx      a trained network as an ONNX file; `export_safetensors` and `export_jax` likewise

Importing the package imports no JAX.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.evaluation.attack.evaluate import evaluate
    from dsrna_jax.evaluation.certify import smoothing
    from dsrna_jax.evaluation.certify.attack_radii import attack_radii
    from dsrna_jax.evaluation.certify.radii import certified_radii
    from dsrna_jax.evaluation.exporting import export_jax, export_onnx, export_safetensors

__all__ = ["attack_radii", "certified_radii", "evaluate", "export_jax", "export_onnx", "export_safetensors", "smoothing"]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "attack_radii": "certify.attack_radii:attack_radii",
        "certified_radii": "certify.radii:certified_radii",
        "evaluate": "attack.evaluate:evaluate",
        "export_jax": "exporting:export_jax",
        "export_onnx": "exporting:export_onnx",
        "export_safetensors": "exporting:export_safetensors",
        "smoothing": "certify.smoothing",
    },
)
