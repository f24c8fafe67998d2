"""Differentiable search for robust neural architectures (DSRNA, CVPR 2021) in JAX."""
