#!/usr/bin/env python3
"""A derived network as a PyTorch user would write it: times of a training step and of PGD-100, on the CPU.

Needs only torch, in an environment of its own. The peer of

    python -m experiments.benchmark --what=training_step --cells=20 --channels=36 --batch_size=16
    python -m experiments.benchmark --what=attack --cells=20 --channels=16 --batch_size=64

    python experiments/peers/torch_derived.py --what training_step --cells 20 --channels 36 --batch 16 --threads 2
    python experiments/peers/torch_derived.py --what attack --cells 20 --channels 16 --batch 64 --threads 2

PC-DARTS's CIFAR-10 cell, with DARTS's auxiliary head and drop path in training. Prints one JSON line; try one thread and two.
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional

NORMAL = [("sep_conv_3x3", 1), ("skip_connect", 0), ("sep_conv_3x3", 0), ("dil_conv_3x3", 1), ("sep_conv_5x5", 0),
          ("sep_conv_3x3", 1), ("avg_pool_3x3", 0), ("dil_conv_3x3", 1)]  # fmt: skip
REDUCTION = [("sep_conv_5x5", 1), ("max_pool_3x3", 0), ("sep_conv_5x5", 1), ("sep_conv_5x5", 2), ("sep_conv_3x3", 0),
             ("sep_conv_3x3", 3), ("sep_conv_3x3", 1), ("sep_conv_3x3", 2)]  # fmt: skip


class ReLUConvBN(nn.Sequential):
    """ReLU, 1x1 convolution, batch norm."""

    def __init__(self, c_in, c_out):
        super().__init__(nn.ReLU(), nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))


class FactorizedReduce(nn.Module):
    """ReLU, two 1x1 convolutions of stride 2 that see the even and the odd pixels, batch norm."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.even = nn.Conv2d(c_in, c_out // 2, 1, 2, bias=False)
        self.odd = nn.Conv2d(c_in, c_out - c_out // 2, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(c_out)

    def forward(self, x):
        x = functional.relu(x)
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


def separable(c, kernel, stride, dilation, repeats):
    """ReLU, depthwise, pointwise and batch norm, once (dilated) or twice (separable)."""
    layers = []
    for r in range(repeats):
        layers += [
            nn.ReLU(),
            nn.Conv2d(c, c, kernel, stride if r == 0 else 1, dilation * (kernel // 2), dilation, c, bias=False),
            nn.Conv2d(c, c, 1, bias=False),
            nn.BatchNorm2d(c),
        ]
    return nn.Sequential(*layers)


def operation(name, c, stride):
    """The operation of a name of DARTS, on `c` channels."""
    if name == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduce(c, c)
    if name == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, 1)
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, 1, count_include_pad=False)
    kind, _, size = name.split("_")
    side = int(size[0])
    return separable(c, side, stride, 1, 2) if kind == "sep" else separable(c, side, stride, 2, 1)


class Cell(nn.Module):
    """A cell of the published genotype, with drop path."""

    def __init__(self, genes, before, last, c, reduction, after_reduction):
        super().__init__()
        self.genes = genes
        self.first = FactorizedReduce(before, c) if after_reduction else ReLUConvBN(before, c)
        self.second = ReLUConvBN(last, c)
        self.operations = nn.ModuleList(operation(n, c, 2 if reduction and s < 2 else 1) for n, s in genes)

    def forward(self, before, last, drop):
        nodes = [self.first(before), self.second(last)]
        for i in range(0, len(self.genes), 2):
            terms = []
            for (_, source), op in zip(self.genes[i : i + 2], self.operations[i : i + 2], strict=True):
                y = op(nodes[source])
                if drop > 0 and not isinstance(op, nn.Identity):
                    y = y * (torch.rand(len(y), 1, 1, 1) > drop) / (1 - drop)
                terms.append(y)
            nodes.append(terms[0] + terms[1])
        return torch.cat(nodes[2:], 1)


class Network(nn.Module):
    """A stack of cells with auxiliary head, as DARTS trains for CIFAR-10."""

    def __init__(self, cells, c, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * c, 3, padding=1, bias=False), nn.BatchNorm2d(3 * c))
        self.cells, before, last, after = nn.ModuleList(), 3 * c, 3 * c, False
        for i in range(cells):
            reduction = i in (cells // 3, 2 * cells // 3)
            c *= 2 if reduction else 1
            self.cells.append(Cell(REDUCTION if reduction else NORMAL, before, last, c, reduction, after))
            before, last, after = last, 4 * c, reduction
            if i == 2 * cells // 3:
                self.auxiliary = nn.Sequential(
                    nn.ReLU(), nn.AvgPool2d(5, 3, count_include_pad=False), nn.Conv2d(last, 128, 1, bias=False),
                    nn.BatchNorm2d(128), nn.ReLU(), nn.Conv2d(128, 768, 2, bias=False), nn.BatchNorm2d(768), nn.ReLU(),
                    nn.Flatten(), nn.Linear(768, classes),
                )  # fmt: skip
        self.head = nn.Linear(last, classes)

    def forward(self, x, drop=0.0):
        before = last = self.stem((x - 0.5) / 0.25)
        for i, cell in enumerate(self.cells):
            before, last = last, cell(before, last, drop)
            if self.training and i == 2 * len(self.cells) // 3:
                auxiliary = self.auxiliary(last)
        logits = self.head(last.mean((2, 3)))
        return (logits, auxiliary) if self.training else logits


def pgd(net, x, y, radius=8 / 255, step=2 / 255, steps=100):
    """The last iterate of PGD in the l-infinity ball, from a random start."""
    moved = (x + radius * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(steps):
        moved.requires_grad_(True)
        (gradient,) = torch.autograd.grad(functional.cross_entropy(net(moved), y, reduction="sum"), moved)
        moved = torch.min(torch.max(moved.detach() + step * gradient.sign(), x - radius), x + radius).clamp(0, 1)
    return moved


def median_ms(f, repeats):
    """Median time of `repeats` calls in milliseconds, after one that warms up."""
    f()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        f()
        times.append(time.perf_counter() - began)
    return round(1e3 * statistics.median(times), 1)


def main():
    """Runs the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--what", choices=["training_step", "attack"], required=True)
    for name, value in (
        ("cells", 20),
        ("channels", 36),
        ("batch", 16),
        ("size", 32),
        ("threads", 1),
        ("repeats", 5),
        ("steps", 100),
    ):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    net = Network(args.cells, args.channels)
    x, y = torch.rand(args.batch, 3, args.size, args.size), torch.randint(10, (args.batch,))
    optimizer = torch.optim.SGD(net.parameters(), 0.025, 0.9, weight_decay=3e-4)

    def step():
        logits, auxiliary = net(x, 0.3)
        optimizer.zero_grad()
        (functional.cross_entropy(logits, y) + 0.4 * functional.cross_entropy(auxiliary, y)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()

    weights = sum(p.numel() for name, p in net.named_parameters() if not name.startswith("auxiliary"))
    line = {"what": args.what, "cells": args.cells, "channels": args.channels, "batch_size": args.batch, "weights": weights}
    if args.what == "training_step":
        line["step_ms"] = median_ms(step, args.repeats)
    else:
        net.eval()
        line |= {"steps": args.steps, "attack_ms": median_ms(lambda: pgd(net, x, y, steps=args.steps), args.repeats)}
    print(json.dumps(line | {"threads": args.threads, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
