"""Supernet and derived network against published counts, a slow cell written edge by edge in numpy, and each other."""

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.genotype import Genotype, reduction_positions
from dsrna_jax.networks import network, spaces
from dsrna_jax.networks.cell import Cell
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.plan import edges_of, genotype_branches, supernet_branches

CIFAR = {"classes": 10, "mean": (0.5,) * 3, "std": (0.25,) * 3}
TINY = {"cells": 3, "channels": 8, "classes": 5, "mean": (0.5,), "std": (0.25,)}
SIDES = {"sep_conv_3x3": 3, "sep_conv_5x5": 5, "dil_conv_3x3": 3, "dil_conv_5x5": 5}


def filled(shapes, seed=0):
    """Variables of those shapes: float64 normal weights, and statistics far from those of any batch."""
    generator = np.random.default_rng(seed)
    weights = jax.tree.map(lambda s: generator.normal(size=s.shape), shapes["params"])
    stats = jax.tree.map(lambda s: generator.uniform(0.5, 2, size=s.shape), shapes["batch_stats"])
    return {"params": weights, "batch_stats": stats}


# ---- published numbers


@pytest.mark.parametrize("space, count", [("darts", 1_930_618), ("pcdarts", 299_578)])
def test_a_supernet_has_as_many_weights_as_the_published_one(space, count):
    net = spaces.supernet(space, nodes=4, cells=8, channels=16, **CIFAR)
    assert network.weight_count(net, (32, 32, 3)) == count


def genes(*names_and_sources):
    return tuple(zip(names_and_sources[::2], names_and_sources[1::2], strict=True))


SEP3, SEP5, DIL3, SKIP, MAX, AVG = "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "skip_connect", "max_pool_3x3", "avg_pool_3x3"


# ---- the weights of one branch among the stacked ones


def slots(paths, branches):
    """(branch, path, index): where the array at `path` holds the weights of a branch that leaves a stack of nodes.

    A fan `from_0_1` stacks nodes 0 and 1. Its branches are in the order of the cell's, convolutions apart: separable ones come
    before dilated ones, those of one primitive together, and only separable ones have a second stage. Depthwise kernels lie one
    after the other, tap by tap.
    """
    for fan in sorted({path[0] for path in paths if path[0].startswith("from_")}):
        for stack, source in enumerate(map(int, fan.split("_")[1:])):
            own = [b for b in branches if b.source == source]
            separable, dilated, skips = ([b for b in own if b.primitive.startswith(p)] for p in ("sep", "dil", "skip"))
            separable, dilated = (sorted(convolutions, key=lambda b: b.primitive) for convolutions in (separable, dilated))
            for stage, served in (("first", separable + dilated), ("second", separable)):
                start = 0
                for i, branch in enumerate(served):
                    stop = start + SIDES[branch.primitive] ** 2
                    yield branch, (fan, f"{stage}_depthwise"), (slice(start, stop), stack)
                    yield branch, (fan, f"{stage}_pointwise"), (stack, i)
                    start = stop
            for i, branch in enumerate(skips):
                for grid in ("even", "odd"):
                    if (fan, "skip_connect", grid) in paths:
                        yield branch, (fan, "skip_connect", grid), (stack, i)


def by_branch(weights, branches):
    """{branch: {name: array}} from the weights of a cell."""
    stacked, result = flax.traverse_util.flatten_dict(weights), {b: {} for b in branches}
    for branch, path, index in slots(stacked, branches):
        result[branch][path[-1]] = stacked[path][index]
    return result


# ---- one cell as DARTS and PC-DARTS write it: an operation per edge, maps [batch, channel, height, width]


def patches(x, side, dilation=1, stride=1, fill=0.0):
    """[batch, channel, height', width', side * side] around each pixel, padded by `fill`."""
    reach = dilation * (side // 2)
    padded = np.pad(x, [(0, 0), (0, 0), (reach, reach), (reach, reach)], constant_values=fill)
    size = 2 * reach + 1
    seen = np.lib.stride_tricks.sliding_window_view(padded, (size, size), (2, 3))
    seen = seen[:, :, ::stride, ::stride, ::dilation, ::dilation]
    return seen.reshape(*seen.shape[:4], -1)


def norm(x):
    return (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)


def conv1x1(x, kernel):
    return np.einsum("dc,bchw->bdhw", kernel, x)


def relu(x):
    return np.maximum(x, 0)


def factorized_reduce(x, even, odd):
    x = relu(x)
    return norm(np.concatenate([conv1x1(x[:, :, ::2, ::2], even), conv1x1(x[:, :, 1::2, 1::2], odd)], axis=1))


def operation(primitive, x, stride, weights):
    def convolved(x, stage, dilation, stride):
        kernel = weights[f"{stage}_depthwise"]  # [tap, channel]
        depthwise = np.einsum("bchwt,tc->bchw", patches(relu(x), SIDES[primitive], dilation, stride), kernel)
        return norm(conv1x1(depthwise, weights[f"{stage}_pointwise"]))

    if primitive == MAX:
        return norm(patches(x, 3, stride=stride, fill=-np.inf).max(-1))
    if primitive == AVG:
        return norm(np.nanmean(patches(x, 3, stride=stride, fill=np.nan), -1))
    if primitive == SKIP:
        return x if stride == 1 else factorized_reduce(x, weights["even"], weights["odd"])
    if primitive in (SEP3, SEP5):
        return convolved(convolved(x, "first", 1, stride), "second", 1, 1)
    return convolved(x, "first", 2, stride)


def mixed_operation(x, stride, partial, mixture, weights):
    """PC-DARTS's MixedOp: the first 1/partial of the channels takes the operations, the rest passes by; then all are shuffled."""
    active = x.shape[1] // partial
    y = sum(share * operation(p, x[:, :active], stride, weights[p]) for p, share in mixture.items())
    if partial == 1:
        return y
    rest = x[:, active:]
    if stride == 2:
        rest = np.max([rest[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0)
    y = np.concatenate([y, rest], axis=1)
    return y.reshape(len(y), partial, active, *y.shape[2:]).swapaxes(1, 2).reshape(y.shape)


def slow_cell(weights, branches, before, last, mixture, betas, *, reduction, after_reduction, partial):
    """Both inputs [channel, batch, height, width] -> output in the same order."""
    before, last = before.swapaxes(0, 1), last.swapaxes(0, 1)
    stacked = by_branch(weights, branches)
    own = weights["preprocess_before"]
    first = (
        factorized_reduce(before, own["even"][0], own["odd"][0])
        if after_reduction
        else norm(conv1x1(relu(before), own["kernel"]))
    )
    nodes = [first, norm(conv1x1(relu(last), weights["preprocess_last"]["kernel"]))]
    last_target = max(b.target for b in branches)
    for target in range(2, last_target + 1):
        node = 0
        for source in range(target):
            edge = [i for i, b in enumerate(branches) if (b.source, b.target) == (source, target)]
            shares = {branches[i].primitive: mixture[i] for i in edge}
            arrays = {branches[i].primitive: stacked[branches[i]] for i in edge}
            beta = betas[source, target]
            stride = 2 if reduction and source < 2 else 1
            node = node + beta * mixed_operation(nodes[source], stride, partial, shares, arrays)
        nodes.append(node)
    return np.concatenate(nodes[2:], axis=1).swapaxes(0, 1)


CELL_TYPES = {
    "normal darts": {"reduction": False, "after_reduction": False, "partial": 1},
    "reduction darts": {"reduction": True, "after_reduction": False, "partial": 1},
    "normal pcdarts after a reduction": {"reduction": False, "after_reduction": True, "partial": 4},
    "reduction pcdarts": {"reduction": True, "after_reduction": False, "partial": 4},
}


@pytest.mark.parametrize("kind", CELL_TYPES)
def test_a_cell_equals_one_written_edge_by_edge(kind):
    branches, settings, generator = supernet_branches(2), CELL_TYPES[kind], np.random.default_rng(0)
    cell = Cell(branches, (2, 3), 8, **settings, is_supernet=True)
    last = generator.normal(size=(5, 2, 6, 6))
    before = generator.normal(size=(6, 2, 12, 12) if settings["after_reduction"] else (6, 2, 6, 6))
    mixture, betas = generator.uniform(size=(len(branches) // 7, 7)), generator.uniform(size=len(branches) // 7)
    edge = {e: i for i, e in enumerate(edges_of(branches))}
    weighed = np.concatenate([betas[edge[b.source, b.target]] * mixture[edge[b.source, b.target]] for b in branches[::7]])
    with jax.enable_x64(True):
        shapes = jax.eval_shape(lambda *a: cell.init(jax.random.key(0), *a, "batch"), before, last, weighed, betas)
        variables = filled(shapes, 1)
        output = jax.jit(lambda *a: cell.apply(variables, *a, "batch"))(before, last, weighed, betas)
    shares = np.concatenate([mixture[edge[b.source, b.target]] for b in branches[::7]])
    by_edge = {e: betas[i] for e, i in edge.items()}
    expected = slow_cell(variables["params"], branches, before, last, shares, by_edge, **settings)
    np.testing.assert_allclose(output, expected, rtol=1e-9, atol=1e-9)


def test_the_shuffle_of_partial_channels_is_a_permutation():
    """Each channel comes out once of an edge that passes its active channels and its bypass unchanged."""
    branches = supernet_branches(1)
    cell = Cell(branches, (2,), 8, reduction=False, after_reduction=False, partial=4)
    x = np.random.default_rng(0).normal(size=(8, 2, 5, 5)).astype(np.float32)
    shares = np.array([b.source == 0 and b.primitive == SKIP for b in branches], np.float32)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), x, x, shares, jnp.ones(2), "batch"))
    variables = jax.tree.map(lambda a: a.astype(np.float32), filled(shapes))
    output = jax.jit(lambda: cell.apply(variables, x, x, shares, jnp.array([1.0, 0.0]), "batch"))()
    kernel = variables["params"]["preprocess_before"]["kernel"]
    node = norm(conv1x1(relu(x.swapaxes(0, 1)), kernel)).swapaxes(0, 1)
    order = [int(np.argmin([np.abs(channel - n).max() for n in node])) for channel in output]
    assert order == [0, 2, 4, 6, 1, 3, 5, 7]
    np.testing.assert_allclose(output, node[order], rtol=1e-4, atol=1e-5)


# ---- derived network and supernet are one definition


ONE = Genotype(genes(SEP3, 0, DIL3, 1, SKIP, 1, MAX, 2), (2, 3), genes(SKIP, 0, SEP5, 1, AVG, 2, "dil_conv_5x5", 0), (2, 3))


def test_the_derived_network_is_the_supernet_with_one_hot_mixtures():
    settings = {**TINY, "channels": 4}
    supernet = spaces.supernet("darts", nodes=2, **settings)
    derived = derived_network(ONE, affine=False, is_supernet=True, **settings)
    images = np.random.default_rng(0).uniform(size=(3, 8, 8, 1))
    everything = supernet_branches(2)
    chosen = {"normal": genotype_branches(ONE.genes("normal")), "reduction": genotype_branches(ONE.genes("reduction"))}
    mixtures = {
        kind: network.Mixture(np.array([float(b in picked) for b in everything]), np.ones(5)) for kind, picked in chosen.items()
    }
    with jax.enable_x64(True):
        whole, part = (filled(jax.eval_shape(net.init, jax.random.key(0), images)) for net in (supernet, derived))
        for name, weights in part["params"].items():
            if not name.startswith("cell_"):
                part["params"][name] = whole["params"][name]
                continue
            own = flax.traverse_util.flatten_dict(weights)
            branches = chosen["reduction" if int(name[5:]) in reduction_positions(3) else "normal"]
            source = by_branch(whole["params"][name], everything)
            for branch, path, index in slots(own, branches):
                own[path][index] = source[branch][path[-1]]
            for side in ("preprocess_before", "preprocess_last"):
                weights[side] = whole["params"][name][side]
        expected = jax.jit(lambda: supernet.apply(whole, images, mixtures, "batch"))()
        result = jax.jit(lambda: derived.apply(part, images, None, "batch"))()
    np.testing.assert_allclose(result, expected, rtol=1e-9, atol=1e-9)


# ---- shapes and errors


@pytest.mark.parametrize("space, nodes, shape", [("darts", 3, (2, 9, 7, 1)), ("pcdarts", 4, (3, 5, 4, 3))])
def test_logits_of_any_size_and_number_of_colours(space, nodes, shape):
    colours = (0.5,) * shape[-1]
    net = spaces.supernet(space, nodes=nodes, **{**TINY, "mean": colours, "std": colours})
    alphas = spaces.initial_alphas(jax.random.key(0), space, nodes)
    logits, _ = jax.eval_shape(
        lambda x: net.init_with_output(jax.random.key(0), x, spaces.mixtures(alphas, nodes)), jnp.zeros(shape)
    )
    assert logits.shape == (shape[0], 5)


def test_images_too_small_for_two_reductions_are_refused():
    net = spaces.supernet("darts", nodes=1, **TINY)
    with pytest.raises(InputError, match=r"4x4.*\(3, 8\)"):
        network.weight_count(net, (3, 8, 1))


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("mean", "shape", "dtype", "got"),
    [
        ((0.5,), (2, 8, 8, 1), "uint8", r"uint8 \(2, 8, 8, 1\): divide bytes by 255"),
        ((0.5,), (2, 8, 8, 1), "bool", r"bool \(2, 8, 8, 1\)"),
        ((0.5,) * 3, (2, 8, 8, 1), "float32", r"float32 \(2, 8, 8, 1\)"),
        ((0.5,) * 3, (2, 8, 8, 4), "float32", r"float32 \(2, 8, 8, 4\)"),
        ((0.5,), (8, 8, 1), "float32", r"float32 \(8, 8, 1\)"),
    ],
)
def test_images_that_are_no_floats_or_have_other_channels_are_refused(mean, shape, dtype, got):
    """Statistics of pixels in whole numbers are 0, and an image of one channel would be repeated for each of three."""
    net = spaces.supernet("darts", nodes=1, **{**TINY, "mean": mean, "std": mean})
    channels = len(mean) if len(mean) > 1 else "channel"
    expected = rf"^images must be floating point \[batch, height, width, {channels}\] in \[0, 1\], got {got}"
    with pytest.raises(InputError, match=expected):
        jax.eval_shape(net.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, dtype))


def test_unknown_spaces_and_indivisible_channels_are_refused():
    with pytest.raises(InputError, match="'dart'.*darts, pcdarts"):
        spaces.supernet("dart", nodes=1, **TINY)
    with pytest.raises(InputError, match="multiple of 8.*got 12"):
        spaces.supernet("pcdarts", nodes=1, **{**TINY, "channels": 12})
    with pytest.raises(InputError, match="multiple of 2.*got 3"):
        spaces.supernet("darts", nodes=1, **{**TINY, "channels": 3})


# ---- examples stay apart


def test_only_batch_statistics_let_an_image_change_the_logits_of_others():
    net = spaces.supernet("darts", nodes=1, primitives=("none", MAX, SKIP, DIL3), **{**TINY, "channels": 4})
    images = np.random.default_rng(1).uniform(size=(4, 7, 7, 1)).astype(np.float32)
    variables = jax.tree.map(np.float32, filled(jax.eval_shape(net.init, jax.random.key(0), images)))
    changed = images.copy()
    changed[2] = 1 - changed[2]
    batch = jax.jit(lambda x: net.apply(variables, x, None, "batch", mutable=["moments"]))
    before, moments = batch(images)
    assert not np.allclose(before[0], batch(changed)[0][0], rtol=1e-3)
    for statistics in ("running", "frozen"):
        apart = jax.jit(lambda x, s=statistics: net.apply({**variables, **moments}, x, None, s))
        moved = np.abs(apart(images) - apart(changed)).max(1)
        assert moved[2] > 1e-2 and moved[[0, 1, 3]].max() < 1e-5
    np.testing.assert_allclose(apart(images), before, rtol=1e-4, atol=1e-4)
