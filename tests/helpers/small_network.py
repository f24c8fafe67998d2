"""A small trained network, digits to attack, and the results of PyTorch's AutoAttack on it (tests/golden)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "digits_cnn.npz")
WEIGHTS = {name: GOLDEN[name] for name in ("k0", "c0", "k1", "c1", "w", "b")}
IMAGES = GOLDEN["pixels"].astype(np.float32) / 255
LABELS = GOLDEN["labels"]


def pooled(x, operation, start):
    return lax.reduce_window(x, start, operation, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def network(weights, images):
    """Logits [batch, 10] of images [batch, 8, 8, 1] in [0, 1]."""

    def convolution(x, kernel, bias):
        y = lax.conv_general_dilated(x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.nn.relu(y + bias[None, None, None])

    w = jax.tree.map(lambda a: jnp.asarray(a, images.dtype), weights)
    x = pooled(convolution((images - 0.5) / 0.25, w["k0"], w["c0"]), lax.max, -jnp.inf)
    x = pooled(convolution(x, w["k1"], w["c1"]), lax.add, 0.0) / 4
    return x.reshape(len(x), -1) @ w["w"] + w["b"][None]


def logits_fn(images):
    return network(WEIGHTS, images)
