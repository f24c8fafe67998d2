# %% [markdown]
# # Bounds of any JAX function
#
# `dsrna_jax.bounds` takes a function, as `jax.grad` does, and bounds its outputs over every input of a ball. The function may
# be a Flax or Equinox network or a plain one, and needs no change. Here it is a small convolutional network with a max pool and a
# GELU. The source of this notebook also runs as a program: `python -m experiments.notebooks.bounds_of_any_function`.

# %%
import flax.linen as nn
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from dsrna_jax import attacks, bounds


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):  # [batch, 8, 8, 1] -> [batch, 4]
        x = nn.relu(nn.Conv(6, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.gelu(nn.Conv(8, (3, 3))(x))
        return nn.Dense(4)(x.reshape(len(x), -1))


x = jax.random.uniform(jax.random.key(0), (8, 8, 8, 1))
network = Small()
variables = network.init(jax.random.key(1), x)


def f(x):
    return network.apply(variables, x)


labels = f(x).argmax(1)

# %% [markdown]
# ## What each method would cost
#
# `explain` traces `f` and computes nothing. A clean pass is one evaluation of `f` on the same batch.

# %%
print(bounds.explain(f, x))

# %% [markdown]
# ## The bounds hold for every input of the ball
#
# Outputs at random points, and at points that a PGD attack drives to the edge, lie within the bounds.

# %%
radius = 0.05
lower, upper = jax.jit(lambda x: bounds.bound(f, x, radius=radius, method="crown", clip=(0.0, 1.0)))(x)

noise = jax.random.uniform(jax.random.key(2), (200, *x.shape), minval=-radius, maxval=radius)
random_outputs = jax.vmap(f)(jnp.clip(x[None] + noise, 0, 1))
attacked = attacks.pgd(f, x, labels, jax.random.key(3), radius=radius, norm="linf", steps=50)
attacked_outputs = f(attacked.x_adv)
for outputs in (*random_outputs, attacked_outputs):
    assert ((lower <= outputs) & (outputs <= upper)).all()

figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
classes = np.arange(4)
axes.vlines(classes, lower[0], upper[0], lw=14, color="0.88", label="certified")
axes.plot(np.broadcast_to(classes, (200, 4)).T, random_outputs[:, 0].T, ".", ms=3, color="C0", alpha=0.3)
axes.plot(classes, attacked_outputs[0], "x", color="C3", label="attacked")
axes.plot(classes, f(x)[0], "_", ms=18, color="k", label="clean")
axes.set(xticks=classes, xlabel="class", ylabel="logit", title=f"one image, l∞ radius {radius}")
axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18))
plt.show()

# %% [markdown]
# ## A margin above 0 is a certificate
#
# `margin` bounds the difference of two logits, which is tighter than the difference of their bounds. `certified_radius` finds
# the largest radius with a positive margin, by bisection.

# %%
margins = bounds.margin(f, x, labels, radius=radius, method="crown", clip=(0.0, 1.0))
print(
    f"certified at {radius}: {int((margins > 0).sum())} of {len(x)}; attacked and still right: {int((~attacked.success).sum())}"
)
for norm in bounds.NORMS:
    certified = jax.jit(lambda x, norm=norm: bounds.certified_radius(f, x, labels, norm=norm, clip=(0.0, 1.0)))(x)
    print(f"{norm:>5}: certified radius {certified.mean():.4f} on average, {certified.min():.4f} at least")

# %% [markdown]
# ## Tightness against cost
#
# The work that `explain` estimates beside the mean width of the bounds: the tighter, the more expensive. The dotted line is the
# mean width of the outputs at the random points above.

# %%
costs, widths = bounds.explain(f, x).costs, {}
for method in bounds.METHODS:
    low, high = jax.jit(lambda x, method=method: bounds.bound(f, x, radius=radius, method=method, clip=(0.0, 1.0)))(x)
    widths[method] = float((high - low).mean())

figure, axes = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained", sharey=True)
axes[0].barh(bounds.METHODS, [costs[method].passes for method in bounds.METHODS], log=True, color="0.6")
axes[0].set(xlabel="clean passes", ylim=(len(bounds.METHODS) - 0.5, -0.5))
axes[1].barh(bounds.METHODS, [widths[method] for method in bounds.METHODS], log=True, color="C0")
axes[1].axvline(float((random_outputs.max(0) - random_outputs.min(0)).mean()), color="k", lw=1, ls=":")
axes[1].set(xlabel="mean width of the bounds")
plt.show()

# %% [markdown]
# ## Bounds have gradients
#
# Bounds can be differentiated by whatever `f` closes over. Here one step on the weights raises the certified margin.


# %%
@jax.jit
def worst_margin(variables):
    return bounds.margin(lambda x: network.apply(variables, x), x, labels, radius=radius).mean()


before, gradient = jax.value_and_grad(worst_margin)(variables)
after = worst_margin(jax.tree.map(lambda w, g: w + 0.01 * g, variables, gradient))
print(f"mean margin {before:.3f} -> {after:.3f} after one step")
assert after > before
