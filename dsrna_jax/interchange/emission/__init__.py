"""JAX functions as ONNX graphs: `onnx_writer` traces a function, these files have a node or more for each primitive.

One file per family, each with a table EMISSIONS; `ALL` joins them.
"""

from dsrna_jax.interchange.emission import moves, primitives, windows

ALL = primitives.EMISSIONS | moves.EMISSIONS | windows.EMISSIONS
