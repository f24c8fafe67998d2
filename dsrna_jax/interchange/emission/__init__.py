"""JAX functions as ONNX graphs: `onnx_writer` traces a function, these files have a node or more for each primitive."""
