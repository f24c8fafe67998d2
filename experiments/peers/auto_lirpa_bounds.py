"""Compares `dsrna_jax.bounds` with auto_LiRPA, on one network with the same weights, in one process.

Needs torch (the CPU build will do) and auto_LiRPA 0.7.1, from its authors' repository, in the project's environment.

    python -m experiments.peers.auto_lirpa_bounds --network=cell --methods=ibp,crown_ibp --repeats=41
    python -m experiments.peers.auto_lirpa_bounds --network=plain
    python -m experiments.peers.auto_lirpa_bounds --network=pools --radius=0.02 --methods=ibp,crown_ibp,crown

Prints one JSON line for each method: milliseconds of CPU time after compilation, and their ratio (for one thread
each, run it under `taskset -c 0`); the largest difference of the bounds (`apart`) and the largest excess of ours (`wider`), as
shares of the largest width; and the ratio of mean widths. auto_LiRPA runs with conv_mode="matrix", since its default is wrong for
dilated and depthwise kernels. `alpha_crown` takes 20 steps from CROWN's intermediate bounds in both; `alpha_all` optimises the
intermediate bounds too, which is the default of both.
"""

import argparse
import functools
import json
import time

import auto_LiRPA
import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import lax
from torch import nn
from torch.nn import functional

from dsrna_jax import bounds
from experiments.benchmarks.timing import median_ms

THEIRS = {"ibp": "IBP", "crown_ibp": "CROWN-IBP", "crown": "CROWN", "fastlin": "CROWN"} | dict.fromkeys(
    ("alpha_crown", "alpha_all"), "CROWN-Optimized"
)


class Jax:
    """The operations of the networks below on JAX arrays [batch, channel, height, width]."""

    relu, concatenate = staticmethod(jax.nn.relu), staticmethod(lambda xs: jnp.concatenate(xs, 1))

    @staticmethod
    def conv(x, w, stride=1, padding=0, dilation=1, groups=1):
        return lax.conv_general_dilated(
            x, w, (stride,) * 2, [(padding,) * 2] * 2, rhs_dilation=(dilation,) * 2, feature_group_count=groups
        )

    @staticmethod
    def max_pool(x, size, stride, padding):
        pads = ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2)
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, size, size), (1, 1, stride, stride), pads)

    @staticmethod
    def avg_pool(x, size):
        return lax.reduce_window(x, 0.0, lax.add, (1, 1, size, size), (1, 1, size, size), "VALID") / size**2

    @staticmethod
    def dense(x, w):
        return x.reshape(len(x), -1) @ w.T


class Torch:
    """The operations on torch tensors."""

    relu, max_pool, avg_pool = functional.relu, functional.max_pool2d, functional.avg_pool2d
    conv = staticmethod(lambda x, w, *args, **options: functional.conv2d(x, w, None, *args, **options))
    concatenate = staticmethod(lambda xs: torch.cat(xs, 1))
    dense = staticmethod(lambda x, w: functional.linear(torch.flatten(x, 1), w))


def plain(do, x, draw):
    """Three convolutions and two dense layers."""
    for shape, stride in (((8, 1, 3, 3), 2), ((16, 8, 3, 3), 2), ((16, 16, 3, 3), 1)):
        x = do.relu(do.conv(x, draw(*shape), stride=stride, padding=1))
    return do.dense(do.relu(do.dense(x, draw(64, 784))), draw(10, 64))


def cell(do, x, draw, channels=6):
    """A cell like those of PC-DARTS: separable and dilated convolutions, skips, concatenation; then a factorised reduction."""

    def depthwise(x, size, dilation=1):
        padding = dilation * (size - 1) // 2
        x = do.conv(do.relu(x), draw(channels, 1, size, size), padding=padding, dilation=dilation, groups=channels)
        return do.conv(x, draw(channels, channels, 1, 1))

    def separable(x, size):
        return depthwise(depthwise(x, size), size)

    x = do.conv(x, draw(channels, 3, 3, 3), padding=1)
    one = separable(x, 3) + x
    two = depthwise(x, 3, dilation=2) + separable(one, 5)
    three = separable(one, 3) + depthwise(two, 3, dilation=2)
    x = do.relu(do.concatenate([one, two, three]))
    x = do.concatenate([do.conv(x, draw(channels // 2, 3 * channels, 1, 1), stride=2) for _ in range(2)])
    return do.dense(do.avg_pool(separable(x, 3) + x, 2), draw(10, channels * 9))


def pools(do, x, draw):
    """Convolutions and max pools with disjoint windows, the only ones that auto_LiRPA bounds."""
    x = do.max_pool(do.relu(do.conv(x, draw(8, 1, 3, 3), padding=1)), 2, 2, 0)
    x = do.max_pool(do.relu(do.conv(x, draw(8, 8, 3, 3))), 3, 3, 0)
    return do.dense(x, draw(10, 8 * 16))


NETWORKS = {"plain": (plain, (1, 28, 28)), "cell": (cell, (3, 12, 12)), "pools": (pools, (1, 28, 28))}


class Module(nn.Module):
    """A network as a torch module."""

    def __init__(self, network, weights):
        super().__init__()
        self.network = network
        self.weights = nn.ParameterList([nn.Parameter(torch.tensor(w)) for w in weights])

    def forward(self, x):
        weights = iter(self.weights)
        return self.network(Torch, x, lambda *shape: next(weights))


def drawn_weights(network, shape):
    """Random weights [out, in, ...] of a network, in the order of their use."""
    rng, weights = np.random.default_rng(0), []

    def draw(*shape):
        weights.append((rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(jax.dtypes.canonicalize_dtype(float)))
        return weights[-1]

    network(Jax, jnp.zeros((1, *shape)), draw)
    return weights


def our_bounds(f, x, *, radius, method):
    """(lower, upper) by this package."""
    if method == "alpha_all":
        return bounds.bound(f, x, radius=radius, method="alpha_crown")
    given = bounds.intermediate(f, x, radius=radius, method="crown") if method == "alpha_crown" else None
    return bounds.bound(f, x, radius=radius, method=method, given=given)


def lirpa_bounds(module, x, radius, method):
    """A function without arguments: (lower, upper) by auto_LiRPA."""
    slopes = {"relu": "same-slope" if method == "fastlin" else "adaptive"}
    optimised = {"iteration": 20, "lr_alpha": 0.5, "lr_decay": 0.98, "fix_interm_bounds": method != "alpha_all"}
    options = {"conv_mode": "matrix", "activation_bound_option": slopes["relu"], "optimize_bound_args": optimised}
    bounded = auto_LiRPA.BoundedModule(module, torch.zeros_like(x), bound_opts=options, verbose=False)
    area = auto_LiRPA.PerturbationLpNorm(norm=np.inf, eps=radius)
    inputs = (auto_LiRPA.BoundedTensor(x, area),)

    def compute():
        if method == "ibp":
            with torch.no_grad():
                return bounded.compute_bounds(x=inputs, method="IBP")
        return bounded.compute_bounds(x=inputs, method=THEIRS[method])

    return compute


def compared(ours, theirs):
    """Largest difference of bounds (lower, upper) and largest excess of ours, by the largest width; the ratio of mean widths."""
    ours, theirs = ([np.asarray(side) for side in sides] for sides in (ours, [side.detach() for side in theirs]))
    width = theirs[1] - theirs[0]
    apart = max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
    wider = max((theirs[0] - ours[0]).max(), (ours[1] - theirs[1]).max())
    figures = {"apart": apart / width.max(), "wider": wider / width.max()}
    figures["width_ratio"] = np.mean(ours[1] - ours[0]) / width.mean()
    return {name: float(f"{value:.3g}") for name, value in figures.items()}


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=list(NETWORKS), default="cell")
    parser.add_argument("--methods", default="ibp,crown_ibp,crown,fastlin,alpha_crown")
    for name, value in (("batch", 2), ("repeats", 5), ("radius", 0.01)):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--double", action="store_true", help="in float64")
    args = parser.parse_args()
    if args.double:
        jax.config.update("jax_enable_x64", True)
        torch.set_default_dtype(torch.float64)
    network, shape = NETWORKS[args.network]
    weights = drawn_weights(network, shape)
    x = np.random.default_rng(1).uniform(size=(args.batch, *shape)).astype(weights[0].dtype)
    module = Module(network, weights).eval()

    def logits(x):
        drawn = iter(weights)
        return network(Jax, x, lambda *shape: next(drawn))

    methods = args.methods.split(",")
    ours = {m: jax.jit(functools.partial(our_bounds, logits, radius=args.radius, method=m)) for m in methods}
    torch.set_num_threads(1)
    # Timed before torch computes anything: its idle threads keep the cores busy.
    ours_ms = {m: median_ms(lambda f=f: f(x), args.repeats, clock=time.process_time) for m, f in ours.items()}
    for method in methods:
        theirs = lirpa_bounds(module, torch.tensor(x), args.radius, method)
        theirs_ms = median_ms(theirs, args.repeats, clock=time.process_time)
        line = {"network": args.network, "method": method, "radius": args.radius, "batch": args.batch}
        line |= compared(ours[method](x), theirs())
        line |= {"ours_ms": ours_ms[method], "theirs_ms": theirs_ms, "ratio": round(theirs_ms / ours_ms[method], 1)}
        print(json.dumps(line | {"auto_LiRPA": auto_LiRPA.__version__, "jax": jax.__version__}), flush=True)


if __name__ == "__main__":
    main()
