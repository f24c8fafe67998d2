"""A complete verifier: whether a property of a function's output holds over a whole box of inputs.

compiled         functions as arguments of compiled programs
falsification    searches for an input that violates the property, by gradients
input_splits     branch and bound that cuts the box, for functions of few inputs
neuron_splits    branch and bound over the sides of hinges such as relu, and over pieces of smooth functions
pairwise         maxima of many values, such as max pools, as hinges
operand_bounds   tighter bounds of the operands of hinges, by branch and bound for each
subproblems      the batches of sub-problems that it bounds
beta_crown       the bounds of these
linear_programs  the decision of those without an open hinge
verdict          the answer
api              `bounds.verify`, which joins them
"""
