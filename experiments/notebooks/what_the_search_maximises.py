# %% [markdown]
# # What the search maximises
#
# A search descends *validation loss - gamma * R* with the alphas. This notebook runs a small search by hand, on the
# handwritten digits, and shows at every step the value of R, its gradient by the alphas, and how that compares with the gradient
# of the loss. Its source also runs as a program: `python -m experiments.notebooks.what_the_search_maximises`.

# %%
import dataclasses

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from dsrna_jax.commands.presets import SMOKE
from dsrna_jax.genotypes.operations import PRIMITIVES
from dsrna_jax.losses import cross_entropy
from dsrna_jax.measures import certificates, radius_schedules
from dsrna_jax.networks import spaces
from dsrna_jax.networks.function import NetworkFunction
from dsrna_jax.search.setup import search_setup
from dsrna_jax.search.state import SearchBatch

config = dataclasses.replace(SMOKE, metric="certified", gamma=0.1, alpha_lr=0.03, warmup_epochs=0)
setup = search_setup(config)
search, supernet = setup.functions, setup.network

# %% [markdown]
# ## R and its gradient
#
# The certificate `cell` bounds every cell by itself. R is minus the sum over cells of the logarithm of the certified output width
# divided by the input width. Batch statistics are constants, so the images of a batch are independent.


# %%
def function(state, alphas, images):
    mixtures = spaces.mixtures(alphas, config.nodes)
    variables = {"params": state.weights, "batch_stats": state.batch_stats}
    _, moments = supernet.apply(variables, images, mixtures, "batch", mutable=["moments"])
    return NetworkFunction(supernet, variables | moments, mixtures, "frozen")


@jax.jit
def gradients(state, batch, key):
    """(R, norm of dR/dalpha, norm of dloss/dalpha, dR/dalpha, logarithm of the next radius)."""

    def r(alphas):
        net = function(state, alphas, batch.images)
        measured = certificates.cell(net, batch.images, batch.labels, key, log_radius=state.log_radius)
        return measured.robustness.mean(), measured.slack

    def loss(alphas):
        return cross_entropy(function(state, alphas, batch.images)(batch.images), batch.labels).mean()

    (value, slack), by_r = jax.value_and_grad(r, has_aux=True)(state.alphas)
    by_loss = jax.grad(loss)(state.alphas)
    following = radius_schedules.controller(state.log_radius, slack, 0.0, config.radius)
    return value, optax.tree.norm(by_r), optax.tree.norm(by_loss), by_r, following


# %% [markdown]
# ## Along a search
#
# Each step takes a batch of each half. The weights learn as in a search; the alphas follow R alone, which shows where it leads.

# %%
weight_step = jax.jit(search.weight_step)
state, rows = search.init(jax.random.key(0)), []
for step in range(24):
    halves = (setup.dataset.images[setup.batch(half, step)] for half in ("search_train", "search_val"))
    labels = (setup.dataset.labels[setup.batch(half, step)] for half in ("search_train", "search_val"))
    train, val = (SearchBatch(jnp.asarray(x, jnp.float32) / 255, jnp.asarray(y)) for x, y in zip(halves, labels, strict=True))
    r, size_r, size_loss, by_r, log_radius = gradients(state, val, jax.random.key(step))
    rows.append([r, size_r, size_loss, jnp.exp(state.log_radius)])
    state, _ = weight_step(state, train)
    alphas = jax.tree.map(lambda a, g: a + config.alpha_lr * jnp.sign(g), state.alphas, by_r)
    state = state.replace(alphas=alphas, log_radius=log_radius)
r, size_r, size_loss, radius = np.array(rows).T
assert np.isfinite(rows).all() and (size_r > 0).all()

# %% [markdown]
# R rises as the alphas follow it. From the first step to the last, the gradient of gamma * R is neither negligible nor
# overwhelming beside that of the loss.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
axes[0].plot(r, color="#228833")
axes[0].set(title="R of the supernet", xlabel="step")
axes[1].semilogy(config.gamma * size_r, label=f"{config.gamma:g} * dR/dalpha", color="#228833")
axes[1].semilogy(size_loss, label="dloss/dalpha", color="#cc3311")
axes[1].set(title="gradients by the alphas", xlabel="step", ylabel="norm")
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# ## Which operations R favours
#
# The mean change of each operation's weight over the edges of the normal cell.

# %%
start = jax.nn.softmax(search.init(jax.random.key(0)).alphas["normal"])
change = (jax.nn.softmax(state.alphas["normal"]) - start).mean(0)
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.barh(list(PRIMITIVES), np.asarray(change), color="#4477aa")
axes.axvline(0, color="#333333", linewidth=0.8)
axes.set(xlabel="change of the softmax")
plt.show()
print(f"R went from {r[0]:.2f} to {r[-1]:.2f}; |dR/dalpha| was {size_r.min():.2g} to {size_r.max():.2g}")
