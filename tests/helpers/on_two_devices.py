"""Tests that need two devices, run by `test_devices` in a process that has them: the numbers of one device, few exchanges."""

import dataclasses
import functools
import io
import re
from collections import Counter

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from smoke_run import SMOKE

from dsrna_jax import attacks
from dsrna_jax.data import augment
from dsrna_jax.data_parallel import batch_mean, example_numbers, whole
from dsrna_jax.evaluation.certify import radii
from dsrna_jax.genotypes import Genotype
from dsrna_jax.kernels.depthwise import depthwise, square_taps
from dsrna_jax.losses import cross_entropy
from dsrna_jax.measures import certificates
from dsrna_jax.measures.jacobian import jacobian_norm
from dsrna_jax.networks import network, spaces
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.layers import BatchNorm
from dsrna_jax.runtime import compilation, records, sharding
from dsrna_jax.runtime.device_data import DeviceData, gathered, on_devices
from dsrna_jax.runtime.microbatches import over_parts
from dsrna_jax.runtime.options import with_effect
from dsrna_jax.search import bilevel, curvature
from dsrna_jax.search.programs import arguments, search_programs
from dsrna_jax.search.setup import search_setup
from dsrna_jax.series.run import run
from dsrna_jax.training.adversarial_options import ADVERSARIES
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.step import training_functions

KEY = jax.random.key(3)
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6, 3), np.uint8)
PIXELS = IMAGES.astype(np.float32) / 255
LABELS = np.arange(12, dtype=np.int32) % 3


def on_each(function, *placed):
    """The results of a function of arrays on their devices."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), placed)
    mesh = jax.tree.leaves(placed)[0].sharding.mesh
    return jax.jit(sharding.on_each_device(function, shapes, mesh))(*placed)


def assert_alike(function, batch, *others, rtol=2e-5, atol=1e-6):
    """Two devices that share `batch`, and have all of the others, return what one returns."""

    def on(devices):
        mesh = sharding.mesh(devices)
        shares, copies = sharding.placed(batch, sharding.split(mesh)), sharding.placed(others, sharding.replicated(mesh))
        return on_each(function, shares, *copies)

    jax.tree.map(lambda two, one: np.testing.assert_allclose(two, one, rtol=rtol, atol=atol), on(2), on(1))


def linear(x):
    return x.reshape(len(x), -1)[:, :7] @ jnp.arange(35.0).reshape(7, 5)


def dropped_paths(x):
    cell = (("sep_conv_3x3", 0), ("skip_connect", 1))
    net = derived_network(Genotype(cell, (2,), cell, (2,)), cells=3, channels=4, classes=3, mean=(0.5,), std=(0.25,))
    return jnp.moveaxis(network.drop_paths(net, KEY, 0.5, len(x)), 2, 0)


def identities(x):
    settings = {"channels": 4, "classes": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3, "skip_dropout": 0.5}
    net = spaces.supernet("darts", nodes=1, cells=3, primitives=("skip_connect",), **settings)
    maps = jnp.stack([x[..., i % 3] for i in range(4)])
    variables = net.init(KEY, jnp.zeros((1, 8, 8, 3)))
    inputs = [jnp.concatenate([maps] * 3)] * 2
    return jnp.moveaxis(net.apply(variables, 0, *inputs, method="cell", rngs={"skip_dropout": KEY}), 1, 0)


DRAWS = {
    "dropout of identities": identities,
    "augmentation": lambda x: augment.augmented(x, KEY, crop_padding=2, flip=True, jitter=0.4, hue=0.1, lighting=0.1, cutout=2),
    "rows of a Jacobian": lambda x: jacobian_norm(linear, x, KEY, n_proj=2),
    "directions": lambda x: jacobian_norm(linear, x, KEY, norm="fro_squared", method="sphere"),
    "entries of a certificate": lambda x: certificates._uniform(KEY, len(x), (2, 3)),
    "start of an attack": lambda x: attacks.pgd(linear, x, jnp.zeros(len(x), int), KEY, radius=0.1, steps=1).x_adv,
    "dropped paths": dropped_paths,
    "numbers": lambda x: example_numbers(len(x)),
}


@pytest.mark.parametrize("kind", DRAWS)
def test_every_example_draws_what_it_draws_on_one_device(kind):
    assert_alike(lambda x: whole(DRAWS[kind](x)), PIXELS)


def test_the_parts_of_a_batch_have_the_examples_and_the_draws_that_they_have_on_one_device():
    def values(part, key):
        drawn = part.mean((1, 2, 3))[:, None] * certificates._uniform(key, len(part), (2,))
        return jnp.square(batch_mean(drawn.mean())), drawn

    def over(x):
        mean, drawn = over_parts(values, x, KEY, 3)
        return mean, whole(drawn)

    assert_alike(over, PIXELS)


@pytest.mark.parametrize("count", [11, 12])
def test_a_batch_is_gathered_from_images_that_are_divided_among_devices(count):
    mesh, numbers = sharding.mesh(2), np.array([10, 0, 5, 5, 9, 1], np.int32)
    data = on_devices(DeviceData(IMAGES[:count], LABELS[:count], np.zeros(3), np.ones(3), {}), mesh)
    assert [part.data.shape[0] for part in data.images.addressable_shards] == [6, 6]
    batch = on_each(lambda *a: tuple(map(whole, gathered(*a))), data, sharding.placed(numbers, sharding.replicated(mesh)))
    for found, expected in zip(batch, (IMAGES[numbers], LABELS[numbers]), strict=True):
        np.testing.assert_array_equal(found, expected)


class Normed(nn.Module):
    """Batch norm and a dense layer, with the interface of a `Network`."""

    classes: int = 3
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    auxiliary: bool = False

    @nn.compact
    def __call__(self, images, mixtures=None, statistics="running", paths=None):
        normal = BatchNorm(name="norm")(jnp.moveaxis(images, -1, 0), statistics)
        flat = jnp.moveaxis(jnp.tanh(normal), 0, -1).reshape(len(images), -1)
        return flat @ self.param("w", nn.initializers.normal(0.1), (flat.shape[1], self.classes))


NET = Normed()
VARIABLES = NET.init(KEY, PIXELS)


@pytest.mark.parametrize("order", bilevel.HYPERGRADIENTS)
def test_hypergradients_are_those_of_the_whole_batch(order):
    """The mixture multiplies images ahead of a batch norm, through whose statistics all examples meet."""

    def hypergradient(batch):
        def loss(power, weights, alphas):
            bent = jnp.abs(batch[0] - 0.4) ** (power + alphas)
            logits, _ = NET.apply({**VARIABLES, "params": weights}, bent, None, "batch", mutable=["batch_stats"])
            return cross_entropy(logits, batch[1]).mean()

        def update(gradient):
            return jax.tree.map(lambda w, g: w - 0.5 * g, VARIABLES["params"], gradient)

        def objective(weights, alphas):
            return loss(2, weights, alphas), None

        train_loss = lambda *variables: loss(1, *variables)  # noqa: E731
        return bilevel.hypergradient(order)(train_loss, objective, update, VARIABLES["params"], jnp.array(0.3))[0]

    assert_alike(hypergradient, (PIXELS, LABELS), rtol=2e-3 if order == "unrolled_fd" else 2e-5)


def test_the_dominant_eigenvalue_is_that_of_the_whole_batch():
    def eigenvalue(batch):
        def loss(powers):
            bent = jnp.abs(batch[0] - 0.4) ** (2 + powers[None, None, None])
            logits, _ = NET.apply(VARIABLES, bent, None, "batch", mutable=["batch_stats"])
            return cross_entropy(logits, batch[1]).mean()

        return curvature.dominant_eigenvalue(loss, jnp.array([0.3, -0.2, 0.1]), KEY)

    assert_alike(eigenvalue, (PIXELS, LABELS), rtol=1e-3)


KINDS = [*((kind, "running") for kind in ADVERSARIES), ("pgd", "batch")]
QUICK = {("free", "running"), ("trades", "running"), ("pgd", "batch")}


@pytest.mark.parametrize(
    ("kind", "statistics"), [pytest.param(*case, marks=[] if case in QUICK else pytest.mark.slow) for case in KINDS]
)
def test_a_training_step_is_that_of_the_whole_batch(kind, statistics):
    settings = dict(
        adversarial=kind, attack_statistics=statistics, batch_size=12, auxiliary_weight=0.0, radius=0.1, attack_steps=2,
        replays=2, crop_padding=1, flip=True,
    )  # fmt: skip
    config = TrainingConfig(**with_effect(TrainingConfig, settings))
    functions = training_functions(config, NET, IMAGES.shape[1:], steps_per_epoch=1)
    state = jax.jit(functions.init)(KEY)

    def step(batch, state, key):
        return functions.train_step(state, *batch, key)

    assert_alike(step, (IMAGES, LABELS), state, KEY, rtol=1e-4, atol=1e-5)


def test_batch_norm_by_device_has_the_statistics_of_its_examples():
    def normed(x, variables):
        output, updated = BatchNorm().apply(variables, jnp.moveaxis(x, -1, 0), "device", mutable=["batch_stats", "moments"])
        return whole(jnp.moveaxis(output, 1, 0)), updated["batch_stats"]["moments"], whole(updated["moments"]["batch"][0][None])

    mesh = sharding.mesh(2)
    variables = sharding.placed(BatchNorm().init(KEY, jnp.zeros((3, 1, 1, 1)), "batch"), sharding.replicated(mesh))
    output, running, means = on_each(normed, sharding.placed(PIXELS, sharding.split(mesh)), variables)
    halves = PIXELS.reshape(2, 6, 6, 6, 3)
    np.testing.assert_allclose(means, halves.mean((1, 2, 3)), rtol=1e-5)
    expected = (halves - halves.mean((1, 2, 3), keepdims=True)) / np.sqrt(halves.var((1, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(output, np.moveaxis(expected.reshape(PIXELS.shape), -1, 1), rtol=1e-3, atol=1e-4)
    unbiased = halves.reshape(2, -1, 3).var(1, ddof=1).mean(0)
    np.testing.assert_allclose(running, [0.1 * PIXELS.mean((0, 1, 2)), 0.9 + 0.1 * unbiased], rtol=1e-4)


def small(kernel, x):
    return nn.relu(depthwise(jnp.moveaxis(x, -1, 0)[None], kernel, square_taps(3))[0, 0]).mean((-2, -1)).T


def test_attacks_and_certificates_divide_the_examples_of_a_batch():
    """Their numbers are those of one device; no map is gathered; a batch that does not divide is computed as well."""
    results, plain = [], Partial(small, jax.random.normal(KEY, (9, 1, 1, 3)))
    attack = jax.jit(lambda f, x, y: attacks.pgd(f, x, y, KEY, radius=0.05, steps=3).x_adv)
    for devices in (1, 2):
        mesh = sharding.mesh(devices)
        images, labels = sharding.placed((PIXELS, LABELS), sharding.split(mesh))
        shared, arguments = sharding.network_by_example(plain, mesh), (images, labels)
        options = {"norm": "linf", "method": "crown_ibp", "clip": None, "chunk": 4, "arithmetic": "evaluated", "mesh": mesh}
        bound = functools.partial(radii.margins_of, radius=np.full(12, 0.01, np.float32), **options)
        results.append((attack(shared, *arguments), bound(plain, *arguments), jax.jit(lambda f, x: f(x))(shared, images[:3])))
        compiled = attack.lower(shared, *arguments).compile(), bound.func.lower(plain, *arguments, **bound.keywords).compile()
        assert not any("all-gather" in program.as_text() for program in compiled)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5), *results)


STEPS = [
    ("weight_step", {"space": "darts", "nodes": 1, "channels": 2}),
    *(pytest.param(*step, marks=pytest.mark.slow) for step in (
        ("weight_step", {}),
        ("evaluate", {}),
        ("weight_step", {"batch_norm": "device"}),
        ("alpha_step", {}),
        ("alpha_step", {"order": "unrolled"}),
        ("alpha_step", {"metric": "certified"}),
        ("eigenvalue", {"eigenvalue_every": 1}),
    )),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes"), STEPS)
def test_devices_exchange_sums_and_the_images_of_the_batch_alone(name, changes):
    """One sum for a batch norm and one for its derivative, one of gradients: no activation travels."""
    setup, mesh = search_setup(dataclasses.replace(SMOKE, **changes)), sharding.mesh(2)
    shapes = arguments(setup, mesh)[name]
    step = sharding.on_each_device(getattr(search_programs(setup.functions), name), shapes, mesh)
    text = jax.jit(step, out_shardings=sharding.replicated(mesh)).lower(*shapes).compile().as_text()
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
    count = Counter(re.findall(rf" ({kinds})(?:-start)?\(", text))
    passes = {"evaluate": 0, "weight_step": 2, "alpha_step": 2, "eigenvalue": 4}[name]
    passes = 7 if changes.get("order") == "unrolled" else passes
    norms = 0 if "batch_norm" in changes else len(jax.tree.leaves(jax.eval_shape(setup.functions.init, KEY).batch_stats))
    assert count.pop("reduce-scatter") <= 2, "of the images of one or two batches"
    assert count.pop("all-reduce") <= passes * norms + 2 and not count


@pytest.mark.slow
def test_a_search_on_two_devices_is_that_on_one():
    """With one seed of three: where the input of a relu is 0 but for rounding, its derivative may differ, and what follows."""
    assert any(one_and_two_devices_agree(seed) for seed in range(3))


def one_and_two_devices_agree(seed):
    one, two = (three_steps(devices, seed) for devices in (1, 2))
    return all(np.abs(one[name] - two[name]).max() < 2e-5 * np.abs(one[name]).max() for name in one)


def three_steps(devices, seed):
    """Weights, alphas and batch statistics after three steps of a search, alphas included."""
    setup, mesh = search_setup(dataclasses.replace(SMOKE, seed=seed)), sharding.mesh(devices)
    data, programs = on_devices(setup.data, mesh), search_programs(setup.functions)
    compiled = compilation.compiled(programs, arguments(setup, mesh), mesh, setup.identity)
    state = compilation.initial_state(setup.functions.init, seed, mesh)
    key = sharding.placed(jax.random.key(seed), sharding.replicated(mesh))
    for step in range(3):
        halves = ("search_train", "search_val")
        train, val = (sharding.placed(setup.batch(half, step), sharding.replicated(mesh)) for half in halves)
        state, _ = compiled.alpha_step.result()(state, data, train, val, key)
        state, _ = compiled.weight_step.result()(state, data, train, key)
    assert len(jax.tree.leaves(state)[0].sharding.device_set) == devices
    trees = {"weights": state.weights, "alphas": state.alphas, "batch_stats": state.batch_stats}
    return {name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for name, tree in trees.items()}


SMALL = {"metric": "none", "space": "darts", "nodes": 1, "channels": 2, "epochs": 2, "batch_size": 240, "warmup_epochs": 0}
RUNS = {
    "perturbed": {"perturbation": "adversarial", "perturbation_steps": 2},
    "sampled": {
        "space": "robnet",
        "operations": "",
        "strategy": "random",
        "children": 2,
        "round_size": 2,
        "reward": "pgd_accuracy",
        "attack_steps": 2,
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUNS)
def test_a_whole_search_on_two_devices_has_the_records_of_one(kind, tmp_path):
    """To rounding, which differs in the order of sums and grows with the steps."""
    config = dataclasses.replace(SMOKE, **SMALL | RUNS[kind])
    for devices in (1, 2):
        run(config, tmp_path / str(devices), devices=devices, file=io.StringIO())
    one, two = (records.rows(tmp_path / str(devices) / "metrics.jsonl") for devices in (1, 2))
    assert len(one) == len(two) > 1
    for ours, theirs in zip(one, two, strict=True):
        assert ours.keys() == theirs.keys()
        numbers = [name for name, value in ours.items() if isinstance(value, float)]
        assert "train_loss" in numbers or "best_reward" in numbers
        np.testing.assert_allclose(*([row[name] for name in numbers] for row in (ours, theirs)), rtol=0.02, atol=0.02)
