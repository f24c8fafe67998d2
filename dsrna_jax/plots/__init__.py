"""Pictures: cells, alphas over time, curves, accuracy against radius, attacked images.

Every picture is a function that returns a matplotlib Figure, and writes it as PNG if a path is given. Figures are made
by the object API on an Agg canvas, without the state of pyplot and without a display.
"""

from dsrna_jax.plots.alphas import alphas_over_time
from dsrna_jax.plots.attacks import accuracy_against_radius, attacked_images
from dsrna_jax.plots.canvas import save
from dsrna_jax.plots.certificates import certified_accuracy
from dsrna_jax.plots.comparison import compared_attacks, compared_certificates, compared_measures, compared_points
from dsrna_jax.plots.curves import search_curves, training_curves
from dsrna_jax.plots.genotypes import cell, cells
from dsrna_jax.plots.rewards import pareto_front, rewards

__all__ = [
    "accuracy_against_radius",
    "alphas_over_time",
    "attacked_images",
    "cell",
    "cells",
    "certified_accuracy",
    "compared_attacks",
    "compared_certificates",
    "compared_measures",
    "compared_points",
    "pareto_front",
    "rewards",
    "save",
    "search_curves",
    "training_curves",
]
