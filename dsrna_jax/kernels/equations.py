"""Evaluation of the equations of jaxprs."""


def evaluated(primitive, inputs, params) -> list:
    """Outputs of a primitive on arrays."""
    outputs = primitive.bind(*inputs, **primitive.get_bind_params(params))
    return list(outputs) if primitive.multiple_results else [outputs]
