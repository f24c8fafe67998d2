# %% [markdown]
# # Weights as arguments
#
# XLA compiles bounds for a function, which takes seconds, and runs them in milliseconds. A function that closes over its weights
# is compiled again whenever these change. If the weights are arguments, one program serves all networks of one shape: a network
# at every step of its training, the members of an ensemble, the files of a benchmark. The source of this notebook also runs as a
# program: `python -m experiments.notebooks.weights_as_arguments`.

# %%
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from dsrna_jax import bounds, data

digits = {split: data.load("digits", split) for split in ("train", "test")}
images, labels = (jnp.asarray(part) for part in (digits["train"].images.reshape(-1, 64) / 255.0, digits["train"].labels))
tested, truth = jnp.asarray(digits["test"].images[:64].reshape(-1, 64) / 255.0), jnp.asarray(digits["test"].labels[:64])


def apply(weights, x):  # [batch, 64] -> [batch, 10]
    for w, b in weights[:-1]:
        x = jax.nn.relu(x @ w + b[None])
    w, b = weights[-1]
    return x @ w + b[None]


def weights_of(seed, sizes=(64, 24, 10)):
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return [(jax.random.normal(k, (i, o)) / i**0.5, jnp.zeros(o)) for k, i, o in zip(keys, sizes[:-1], sizes[1:], strict=True)]


# %% [markdown]
# ## One program for a whole training
#
# `certificates` takes the weights as an argument, and makes the function that is bounded inside. Python runs its body only when
# it is compiled, so that `compilations` counts these.

# %%
compilations, RADIUS = [], 0.06


@jax.jit
def certificates(weights, radius):
    compilations.append("certificates")
    margins = bounds.margin(partial(apply, weights), tested, truth, radius=radius, method="crown", clip=(0.0, 1.0))
    return (apply(weights, tested).argmax(1) == truth).mean(), (margins > 0).mean()


optimizer = optax.adam(0.01)


@partial(jax.jit, static_argnames="slack")
def trained(weights, state, slack):
    """40 steps of Adam on interval bounds of the margin, within `slack` of every pixel; on clean images where it is 0."""

    def loss(weights):
        margins = bounds.class_margins(partial(apply, weights), images, labels, radius=slack, method="ibp")
        return optax.losses.safe_softmax_cross_entropy(
            jnp.pad(-margins, ((0, 0), (1, 0))), jax.nn.one_hot(jnp.zeros(len(images), int), 10)
        ).mean()

    def step(pair, _):
        updates, state = optimizer.update(jax.grad(loss)(pair[0]), pair[1])
        return (optax.apply_updates(pair[0], updates), state), None

    return jax.lax.scan(step, (weights, state), length=40)[0]


curves, networks = {}, {}
for name, slack in (("plain", 0.0), ("robust", 0.01)):
    weights = weights_of(0)
    state, curves[name] = optimizer.init(weights), []
    for _ in range(8):
        weights, state = trained(weights, state, slack)
        curves[name].append(certificates(weights, RADIUS))
    networks[name] = weights
print(f"{len(compilations)} compilation for {sum(map(len, curves.values()))} networks")

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
steps = 40 * np.arange(1, 9)
for colour, (name, pairs) in zip(("C0", "C1"), curves.items(), strict=True):
    clean, certified = np.array(pairs).T
    axes.plot(steps, clean, color=colour, ls=":", label=f"{name} training: right")
    axes.plot(steps, certified, color=colour, label=f"{name} training: certified")
axes.set(xlabel="step", ylabel="share of 64 test images", title=f"l∞ radius {RADIUS}", ylim=(0, 1.02))
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## Many boxes at once
#
# A `Box` is a pytree, and bounds can be mapped over it: here over boxes of four widths around the same images. They can be mapped
# over networks too, by `jax.vmap` of their stacked weights.

# %%
widths = jnp.array([0.02, 0.04, 0.06, 0.08])
boxes = jax.vmap(lambda width: bounds.Box.around(tested, width, (0.0, 1.0)))(widths)
lower, upper = jax.jit(jax.vmap(lambda box: bounds.bound(partial(apply, networks["robust"]), tested, box=box)))(boxes)
alone = bounds.bound(partial(apply, networks["robust"]), tested, box=bounds.Box.around(tested, 0.04, (0.0, 1.0)))
assert jnp.allclose(lower[1], alone[0], atol=1e-5) and jnp.allclose(upper[1], alone[1], atol=1e-5)
for width, low, high in zip(widths, lower, upper, strict=True):
    print(f"width {width:.2f}: logits within {(high - low).mean():.3f} on average")

stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *networks.values())
both = jax.vmap(lambda weights: bounds.margin(partial(apply, weights), tested, truth, radius=RADIUS).mean())(stacked)
for name, mean in zip(networks, both, strict=True):
    print(f"{name} training: mean margin {mean:.3f}")

# %% [markdown]
# ## The verifier
#
# `bounds.verify` compiles several programs. A `jax.tree_util.Partial` is a pytree whose leaves are the weights, so that they are
# arguments there too. The same goes for an Equinox module, and for `function` of a network that is read from an ONNX file.

# %%
for name, weights in networks.items():
    network = jax.tree_util.Partial(apply, weights)
    answers = [
        bounds.verify(
            network,
            bounds.Box.around(x[None], RADIUS, (0.0, 1.0)),
            bounds.Specification.of_label(label[None], 10),
            method="crown",
            timeout=600,
        ).status
        for x, label in zip(tested[:4], truth[:4], strict=True)
    ]
    print(f"{name} training: {', '.join(answers)}")
