"""ONNX operations as JAX functions. One file per family, each with a table OPERATIONS; `ALL` joins them."""

from dsrna_jax.interchange.operations import elementwise, products, reductions, resizing, shapes, windows

FAMILIES = (elementwise, products, windows, shapes, reductions, resizing)
ALL = {name: operation for family in FAMILIES for name, operation in family.OPERATIONS.items()}
