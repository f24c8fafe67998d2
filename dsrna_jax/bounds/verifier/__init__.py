"""A complete verifier: whether a property of a function's output holds over a whole box of inputs.

verdict        the answer
compiled       functions as arguments of compiled programs
falsification  searches for an input that violates the property, by gradients
input_splits   branch and bound that cuts the box, for functions of few inputs
relu_splits    branch and bound over the signs of hinges such as relu (beta-CROWN)
api            `bounds.verify`, which joins them
"""
