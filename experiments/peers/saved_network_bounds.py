"""Margins of a saved network on saved images, and the CPU seconds that they take; beside auto_LiRPA's if that is asked for.

    python -m experiments.peers.saved_network_bounds mnist_cnn_a_adv.npz mnist_200.npz --radius=0.3
    python -m experiments.peers.saved_network_bounds mnist_cnn_a_adv.npz mnist_200.npz --radius=0.3 --theirs

A network is an npz file whose `layers` is a JSON list of {"kind": "conv", "linear", "relu" or "flatten", "key", "stride",
"padding"}, with weights under KEY.w (out, in, height, width; or out, in) and KEY.b. The images are uint8
[number, channel, height, width] with `labels`; pixels are divided by 255 and stay within [0, 1]. Prints one JSON line for each
method: CPU seconds an image of the last of `--repeats` runs on the whole batch, those of tracing and compiling, and the worst
margin of each image. For one thread each, run it under `taskset -c 0`. `--theirs` needs torch and auto_LiRPA 0.7.1.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dsrna_jax import bounds

THEIRS = {"ibp": "IBP", "crown_ibp": "CROWN-IBP", "crown": "CROWN", "alpha_crown": "CROWN-Optimized"}


def saved_layers(path: str) -> list[dict[str, Any]]:
    """The layers of a saved network, with their weights."""
    with np.load(path) as saved:
        layers = json.loads(str(saved["layers"]))
        return [x | ({"w": saved[x["key"] + ".w"], "b": saved[x["key"] + ".b"]} if "key" in x else {}) for x in layers]


def network(layers: list[dict[str, Any]]) -> Callable[[jax.Array], jax.Array]:
    """The function of images [batch, channel, height, width] that layers compute."""

    def f(x):
        for layer in layers:
            if layer["kind"] == "relu":
                x = jax.nn.relu(x)
            elif layer["kind"] == "flatten":
                x = x.reshape(len(x), -1)
            elif layer["kind"] == "linear":
                x = x @ layer["w"].T + layer["b"]
            else:
                pads = [(p, p) for p in layer["padding"]]
                x = lax.conv_general_dilated(x, jnp.asarray(layer["w"]), layer["stride"], pads) + layer["b"][:, None, None]
        return x

    return f


def our_margins(layers, images, labels, radius, method, repeats):
    """(margins [image], CPU seconds of the last run, of tracing and compiling)."""
    began = time.process_time()
    margin = jax.jit(lambda x, y: bounds.margin(network(layers), x, y, radius=radius, method=method, clip=(0.0, 1.0)))
    compiled = margin.lower(images, labels).compile()
    compile_s = time.process_time() - began
    for _ in range(repeats):
        began = time.process_time()
        margins = jax.block_until_ready(compiled(images, labels))
        seconds = time.process_time() - began
    return np.asarray(margins), seconds, compile_s


def their_margins(layers, images, labels, radius, method, repeats):
    """Margins and CPU seconds of auto_LiRPA, as `our_margins`; its construction in place of compiling."""
    import auto_LiRPA
    import torch
    from torch import nn

    torch.set_num_threads(1)

    def module(layer):
        if layer["kind"] in ("relu", "flatten"):
            return {"relu": nn.ReLU, "flatten": nn.Flatten}[layer["kind"]]()
        weights = [torch.tensor(layer[name]) for name in ("w", "b")]
        out, into, *sides = weights[0].shape
        made = nn.Conv2d(into, out, sides, layer["stride"], layer["padding"]) if sides else nn.Linear(into, out)
        made.weight.data, made.bias.data = weights
        return made

    began = time.process_time()
    x, classes = torch.tensor(images), len(layers[-1]["b"])
    bounded = auto_LiRPA.BoundedModule(nn.Sequential(*map(module, layers)).eval(), torch.zeros_like(x), verbose=False)
    low, high = (x - radius).clamp(0, 1), (x + radius).clamp(0, 1)
    inputs = (auto_LiRPA.BoundedTensor(x, auto_LiRPA.PerturbationLpNorm(norm=np.inf, x_L=low, x_U=high)),)
    eye = np.eye(classes, dtype=np.float32)
    rows = torch.tensor(np.stack([eye[y] - np.delete(eye, y, 0) for y in labels]))
    compile_s = time.process_time() - began
    for _ in range(repeats):
        began = time.process_time()
        lower, _ = bounded.compute_bounds(x=inputs, C=rows, method=THEIRS[method], bound_upper=False)
        seconds = time.process_time() - began
    return lower.detach().numpy().min(1), seconds, compile_s


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("images")
    parser.add_argument("--radius", type=float, default=0.3)
    parser.add_argument("--methods", default="ibp,crown_ibp,crown")
    parser.add_argument("--batch", type=int, default=8, help="images, the first of the file")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--theirs", action="store_true", help="auto_LiRPA's margins too")
    args = parser.parse_args()
    layers = saved_layers(args.network)
    with np.load(args.images) as saved:
        images, labels = saved["images"][: args.batch].astype(np.float32) / 255, saved["labels"][: args.batch]
    ways = {"ours": our_margins} | ({"auto_LiRPA": their_margins} if args.theirs else {})
    for method in args.methods.split(","):
        for name, margins_by in ways.items():
            margins, seconds, compile_s = margins_by(layers, images, labels, args.radius, method, args.repeats)
            line = {"by": name, "method": method, "radius": args.radius, "batch": len(images)}
            line |= {"cpu_s_an_image": round(seconds / len(images), 5), "compile_cpu_s": round(compile_s, 1)}
            print(
                json.dumps(line | {"mean": float(margins.mean()), "margins": [round(float(m), 4) for m in margins]}), flush=True
            )


if __name__ == "__main__":
    main()
