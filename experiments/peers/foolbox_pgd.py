"""PGD of `dsrna_jax.attacks` and of foolbox on JAX, on the same small network in one process; needs the extra "test".

    python -m experiments.peers.foolbox_pgd --network=dense --batch=64
    python -m experiments.peers.foolbox_pgd --network=convolutional --batch=64

foolbox takes its steps one by one from Python; it is given the network as it is, and jitted. `gradients_ms` is the floor: as many
gradients of the loss in a compiled loop, and nothing else. Prints one JSON line.
"""

import argparse
import json

import foolbox
import jax
import numpy as np
from jax import lax

from dsrna_jax import attacks
from dsrna_jax.losses import cross_entropy
from experiments.benchmarks.timing import median_ms

RADIUS, STEP = 8 / 255, 2 / 255


def dense(key, width: int = 128):
    """Logits [batch, 10] of images [batch, 28, 28, 1]: two hidden layers with random weights."""
    shapes = [(784, width), (width, width), (width, 10)]
    layers = [jax.random.normal(k, s) / s[0] ** 0.5 for k, s in zip(jax.random.split(key, 3), shapes, strict=True)]

    def logits(images):
        x = images.reshape(len(images), -1)
        for layer in layers[:-1]:
            x = jax.nn.relu(x @ layer)
        return x @ layers[-1]

    return logits


def convolutional(key, channels: int = 16):
    """Logits [batch, 10] of images [batch, 28, 28, 1]: two convolutions of stride 2 and a dense layer with random weights."""
    shapes = [(3, 3, 1, channels), (3, 3, channels, channels), (49 * channels, 10)]
    *kernels, last = (jax.random.normal(k, s) / 9**0.5 for k, s in zip(jax.random.split(key, 3), shapes, strict=True))

    def logits(images):
        x = images
        for kernel in kernels:
            x = jax.nn.relu(lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")))
        return x.reshape(len(x), -1) @ last

    return logits


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["dense", "convolutional"], default="dense")
    for name, value in (("batch", 64), ("steps", 100), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    logits = {"dense": dense, "convolutional": convolutional}[args.network](jax.random.key(0))
    images = jax.random.uniform(jax.random.key(1), (args.batch, 28, 28, 1))
    labels = logits(images).argmax(1)

    @jax.jit
    def ours(radius):
        options = {"step_size": STEP, "steps": args.steps, "random_start": False, "keep": "last"}
        return attacks.pgd(logits, images, labels, radius=radius, **options)

    @jax.jit
    def gradients(step):
        gradient = jax.grad(lambda x: cross_entropy(logits(x), labels).sum())
        return lax.fori_loop(0, args.steps, lambda _, x: x + step * gradient(x), images)

    def theirs(network):
        attack = foolbox.attacks.LinfPGD(steps=args.steps, abs_stepsize=STEP, random_start=False)
        return attack(foolbox.JAXModel(network, bounds=(0, 1)), images, labels, epsilons=RADIUS)

    line = {"network": args.network, "batch": args.batch, "steps": args.steps}
    line["gradients_ms"] = median_ms(lambda: gradients(STEP), args.repeats)
    line["ours_ms"] = median_ms(lambda: ours(RADIUS), args.repeats)
    for name, network in (("foolbox", logits), ("foolbox_jitted", jax.jit(logits))):
        x_adv, expected = ours(RADIUS).x_adv, theirs(network)[1]
        line[f"{name}_ms"] = median_ms(lambda network=network: theirs(network), args.repeats)
        line[f"{name}_ratio"] = round(line[f"{name}_ms"] / line["ours_ms"], 1)
        line[f"{name}_agrees"] = round(float(np.isclose(x_adv, expected, atol=1e-5).mean()), 4)
    print(json.dumps(line | {"jax": jax.__version__, "foolbox": foolbox.__version__}))


if __name__ == "__main__":
    main()
