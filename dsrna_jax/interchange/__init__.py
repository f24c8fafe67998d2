"""Networks and properties that come from elsewhere, and networks that leave: ONNX, VNNLIB.

    network = interchange.read_onnx("network.onnx")       a function of a batch of inputs, each example by itself
    interchange.write_onnx(f, (28, 28, 1), "f.onnx")      any JAX function of a batch, with its weights
    properties = interchange.read_vnnlib("prop.vnnlib")   boxes of inputs, each with the outputs that must not occur
    bounds.verify(network, *interchange.union(properties, network.example_shape))

Bounds, attacks and Jacobian norms take `network` as any JAX function. Files may be packed by gzip (.onnx.gz, .vnnlib.gz). Reading
and writing ONNX need the package onnx: `pip install 'dsrna_jax[onnx]'`.
"""

from typing import TYPE_CHECKING

from dsrna_jax import lazy

if TYPE_CHECKING:
    from dsrna_jax.interchange.onnx_network import OnnxNetwork
    from dsrna_jax.interchange.onnx_network import read as read_onnx
    from dsrna_jax.interchange.onnx_writer import write as write_onnx
    from dsrna_jax.interchange.vnnlib import Property, union
    from dsrna_jax.interchange.vnnlib import read as read_vnnlib

__all__ = ["OnnxNetwork", "Property", "read_onnx", "read_vnnlib", "union", "write_onnx"]
__getattr__, __dir__ = lazy.attach(
    __name__,
    __all__,
    {
        "OnnxNetwork": "onnx_network:OnnxNetwork",
        "Property": "vnnlib:Property",
        "read_onnx": "onnx_network:read",
        "read_vnnlib": "vnnlib:read",
        "union": "vnnlib:union",
        "write_onnx": "onnx_writer:write",
    },
)
