#!/usr/bin/env python3
"""A DARTS or PC-DARTS supernet as a PyTorch user would write it, module by module: times of one search step, on the CPU.

Needs only torch, in an environment of its own. The peer of

    python -m experiments.benchmark --what=search_step --space=pcdarts --metric=jacobian --order=first --batch_size=16

    python experiments/peers/torch_search.py --space pcdarts --batch 16 --threads 1
    python experiments/peers/torch_search.py --space pcdarts --batch 16 --threads 1 --second

Prints one JSON line: median milliseconds of the forward pass, of the weight gradient, of the alpha gradient without and with the
term gamma * mean ||row of the Jacobian||_1 (one random class row an example), and with --second of the exact second-order
gradient. Try one thread and two.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

POOLS_AND_SKIP = 3  # max pool, average pool, skip come first, after `none`


def batch_norm(channels, affine=False):
    """Batch norm, without scale and shift, as in a supernet."""
    return nn.BatchNorm2d(channels, affine=affine)


class Separable(nn.Module):
    """ReLU, depthwise, pointwise, BN; once (dilated) or twice (plain separable)."""

    def __init__(self, channels, kernel, stride, dilation, repeats):
        super().__init__()
        layers = []
        for r in range(repeats):
            layers += [
                nn.ReLU(),
                nn.Conv2d(
                    channels, channels, kernel, stride if r == 0 else 1, dilation * (kernel // 2), dilation, channels, bias=False
                ),
                nn.Conv2d(channels, channels, 1, bias=False),
                batch_norm(channels),
            ]
        self.body = nn.Sequential(*layers)

    def forward(self, x):
        return self.body(x)


class Halve(nn.Module):
    """Stride-2 reduction by two pointwise convolutions on shifted grids."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.bn = batch_norm(c_out)

    def forward(self, x):
        x = functional.relu(x)
        return self.bn(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def preprocess(c_in, c_out, halve):
    """The layer that brings the output of an earlier cell to `c_out` channels, and to half the size where `halve`."""
    return Halve(c_in, c_out) if halve else nn.Sequential(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), batch_norm(c_out))


class Edge(nn.Module):
    """The mixture of all operations on an edge, on a share of the channels in PC-DARTS."""

    def __init__(self, channels, stride, partial):
        super().__init__()
        c = channels // partial
        self.partial, self.stride, self.c = partial, stride, c
        self.ops = nn.ModuleList(
            [
                nn.Sequential(nn.MaxPool2d(3, stride, 1), batch_norm(c)),
                nn.Sequential(nn.AvgPool2d(3, stride, 1, count_include_pad=False), batch_norm(c)),
                nn.Identity() if stride == 1 else Halve(c, c),
                Separable(c, 3, stride, 1, 2),
                Separable(c, 5, stride, 1, 2),
                Separable(c, 3, stride, 2, 1),
                Separable(c, 5, stride, 2, 1),
            ]
        )

    def forward(self, x, mixture):
        active, rest = x[:, : self.c], x[:, self.c :]
        y = sum(w * op(active) for w, op in zip(mixture[1:], self.ops, strict=True))
        if self.partial == 1:
            return y
        if self.stride == 2:
            rest = functional.max_pool2d(rest, 2, 2)
        z = torch.cat([y, rest], 1)
        n, ch, h, w = z.shape
        return z.view(n, self.partial, ch // self.partial, h, w).transpose(1, 2).reshape(n, ch, h, w)


class Cell(nn.Module):
    """A cell of the supernet: every node sums mixtures of all states before it."""

    def __init__(self, steps, c_pp, c_p, c, reduction, reduction_prev, partial):
        super().__init__()
        self.steps, self.reduction = steps, reduction
        self.pre0, self.pre1 = preprocess(c_pp, c, reduction_prev), preprocess(c_p, c, False)
        self.edges = nn.ModuleList(Edge(c, 2 if reduction and j < 2 else 1, partial) for i in range(steps) for j in range(2 + i))

    def forward(self, s0, s1, mixture, edge_weight):
        states, e = [self.pre0(s0), self.pre1(s1)], 0
        for _ in range(self.steps):
            k = len(states)
            states.append(sum(edge_weight[e + j] * self.edges[e + j](states[j], mixture[e + j]) for j in range(k)))
            e += k
        return torch.cat(states[2:], 1)


class Supernet(nn.Module):
    """The supernet of DARTS (`partial` 1) or PC-DARTS."""

    def __init__(self, channels=16, cells=8, steps=4, classes=10, partial=4, in_channels=3):
        super().__init__()
        self.partial = partial
        self.stem = nn.Sequential(nn.Conv2d(in_channels, 3 * channels, 3, 1, 1, bias=False), batch_norm(3 * channels, True))
        c_pp = c_p = 3 * channels
        c, previous, self.cells = channels, False, nn.ModuleList()
        for i in range(cells):
            reduction = i in (cells // 3, 2 * cells // 3)
            c *= 2 if reduction else 1
            self.cells.append(Cell(steps, c_pp, c_p, c, reduction, previous, partial))
            c_pp, c_p, previous = c_p, steps * c, reduction
        self.head = nn.Linear(c_p, classes)
        self.sizes = [2 + i for i in range(steps)]
        edges = sum(self.sizes)
        shapes = (edges, 8), (edges, 8), (edges,), (edges,)
        self.alphas = [
            (1e-3 * torch.randn(*shape)).requires_grad_() for shape in shapes
        ]  # normal, reduction, and PC-DARTS's edge weights

    def forward(self, x):
        s0 = s1 = self.stem(x)
        for cell in self.cells:
            a, b = self.alphas[int(cell.reduction)], self.alphas[2 + int(cell.reduction)]
            edge = (
                torch.cat([functional.softmax(part, 0) for part in b.split(self.sizes)])
                if self.partial > 1
                else torch.ones(len(b))
            )
            s0, s1 = s1, cell(s0, s1, functional.softmax(a, -1), edge)
        return self.head(s1.mean((2, 3)))


def median_ms(f, repeats):
    """Median time of `repeats` calls in milliseconds, after one that warms up."""
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return round(1e3 * statistics.median(times), 1)


def main():
    """Runs the command."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--space", choices=["darts", "pcdarts"], default="pcdarts")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--channels", type=int, default=16)
    p.add_argument("--cells", type=int, default=8)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--size", type=int, default=32)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--second", action="store_true")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    net = Supernet(o.channels, o.cells, o.steps, partial=4 if o.space == "pcdarts" else 1)
    weights = list(net.parameters())
    x, y = torch.rand(o.batch, 3, o.size, o.size), torch.randint(0, 10, (o.batch,))
    alphas = net.alphas if o.space == "pcdarts" else net.alphas[:2]

    def forward():
        with torch.no_grad():
            net(x)

    def objective(gamma):
        image = x.clone().requires_grad_(gamma > 0)
        logits = net(image)
        loss = functional.cross_entropy(logits, y)
        if gamma:
            rows = functional.one_hot(torch.randint(0, 10, (o.batch,)), 10).to(logits.dtype)
            (jacobian,) = torch.autograd.grad(logits, image, rows, create_graph=True)
            loss = loss + gamma * 10 * jacobian.abs().flatten(1).sum(1).mean() / 10
        return loss

    def weight_step():
        torch.autograd.grad(objective(0.0), weights)

    def second_order(inner_lr=0.025, gamma=0.01):
        old = [w.detach().clone() for w in weights]
        grads = torch.autograd.grad(objective(0.0), weights)
        with torch.no_grad():
            for w, g in zip(weights, grads, strict=True):
                w -= inner_lr * g
        out = torch.autograd.grad(objective(gamma), weights + alphas)
        vector, direct = [v.detach() for v in out[: len(weights)]], out[len(weights) :]
        with torch.no_grad():
            for w, v in zip(weights, old, strict=True):
                w.copy_(v)
        grads = torch.autograd.grad(objective(0.0), weights, create_graph=True)
        mixed = torch.autograd.grad(sum((g * v).sum() for g, v in zip(grads, vector, strict=True)), alphas)
        return [d - inner_lr * m for d, m in zip(direct, mixed, strict=True)]

    result = {
        "space": o.space,
        "batch": o.batch,
        "threads": o.threads,
        "weights": sum(w.numel() for w in weights),
        "forward_ms": median_ms(forward, o.repeats),
        "weight_gradient_ms": median_ms(weight_step, o.repeats),
        "alpha_gradient_ms": median_ms(lambda: torch.autograd.grad(objective(0.0), alphas), o.repeats),
        "alpha_gradient_jacobian_ms": median_ms(lambda: torch.autograd.grad(objective(0.01), alphas), o.repeats),
    }
    if o.second:
        result["alpha_gradient_second_order_jacobian_ms"] = median_ms(second_order, max(1, o.repeats // 2))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
