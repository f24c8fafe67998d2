"""Every attack with a small budget, on images of a linear network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from dsrna_jax import attacks

BUDGETS = {
    "fgsm": {},
    "pgd": {"steps": 4},
    "multi_targeted": {"steps": 4, "targets": 2},
    "apgd": {"steps": 6},
    "apgd_t": {"steps": 6, "targets": 2},
    "cw": {"steps": 10, "searches": 3},
    "ddn": {"steps": 10},
    "fab": {"steps": 5},
    "fab_t": {"steps": 5, "targets": 2},
    "square": {"steps": 20},
    "autoattack": {"steps": 4, "queries": 10, "targets": 2, "batch_size": 6},
}
NORM = {name: "l2" if name in ("cw", "ddn") else "linf" for name in BUDGETS}
KEY, BATCH, CLASSES = jax.random.key(0), 6, 5
rng = np.random.default_rng(1)
W = np.float32(rng.normal(size=(16, CLASSES)))
X = np.float32(rng.uniform(0.2, 0.8, (BATCH, 4, 4, 1)))
names = pytest.mark.parametrize("name", BUDGETS)


def linear(weights, x):
    return x.reshape(len(x), -1) @ weights.astype(x.dtype)


NETWORK = Partial(linear, jnp.asarray(W))
Y = np.asarray(NETWORK(jnp.asarray(X)).argmax(1))


def attacked(name, logits_fn=NETWORK, images=X, labels=Y, key=KEY, radius=0.1, **options):
    options = {"norm": NORM[name], **BUDGETS[name], **options}
    return attacks.attack(name)(logits_fn, images, labels, key, radius=radius, **options)
