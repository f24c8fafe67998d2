"""Operations with random attributes for tests of the bounds, and an attack on the extremes of a function's outputs."""

from bounded_operations import affine, piecewise, smooth, writing
from bounded_operations.attack import attacked, network
from bounded_operations.drawing import OPERATIONS, POSITIVE, Draw

__all__ = ["OPERATIONS", "POSITIVE", "Draw", "affine", "attacked", "network", "piecewise", "smooth", "writing"]
