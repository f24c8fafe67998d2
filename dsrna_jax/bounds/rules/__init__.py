"""Rules: primitives of JAX on bounded values. One file per family, each with a table RULES; `registry` joins them.

A rule is a function (tracer, primitive, operands, params, axes) -> outputs:

    tracer      the `tracer.Tracer`: `node` makes a node, `inline` bounds a function by the rules of its operations
    primitive   as in a jaxpr; params are its parameters
    operands    `Node`s for values that depend on the input, `Predicate`s for comparisons of these, arrays for constants
    axes        the batch axis of each output
    outputs     a list: `Node`s, `Predicate`s, or operands as they are

A family is added by a file with a RULES of its own, named in `registry.FAMILIES`; a single primitive by `bounds.register`.
"""
