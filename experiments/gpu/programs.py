"""The programs that are compiled for GPUs: steps of searches and trainings, an attack, bounds; by name, without data."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from dsrna_jax import attacks, bounds
from dsrna_jax.bounds.explanation import memory_of_device
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.data.published import published_training_split
from dsrna_jax.genotypes import zoo
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.runtime import compilation, sharding
from dsrna_jax.search import programs as search_programs
from dsrna_jax.search.kinds import kind_of
from dsrna_jax.search.sampled import programs as sampled_programs
from dsrna_jax.training import programs as training_programs
from dsrna_jax.training.setup import training_setup

GENOTYPE = "PC_DARTS_cifar"


class Size(NamedTuple):
    """The size of networks and batches, the steps of attacks (alone and in a training step), and the method of bounds."""

    supernet: dict[str, int]
    derived: dict[str, int]
    batch_size: int
    steps: int
    method: str = "crown_ibp"


SIZES = {
    "tiny": Size({"cells": 3, "channels": 8, "nodes": 1}, {"cells": 3, "channels": 4}, 8, 2, "ibp"),
    "small": Size({"cells": 3, "channels": 16, "nodes": 4}, {"cells": 3, "channels": 16}, 32, 7),
    "full": Size({"cells": 8, "channels": 16, "nodes": 4}, {"cells": 20, "channels": 36}, 128, 20),
}
"""Full: that of the paper."""


class Program(NamedTuple):
    """A program. build: (size, mesh) -> (function, arguments, is_step), as those of `jit`. devices: it is compiled for."""

    build: Callable[[Size, Mesh], tuple[Callable, tuple, bool]]
    devices: int = 1


def lowered(program: Program, size: Size, mesh: Mesh) -> Any:
    """The program of that size for the devices of `mesh`, lowered for CUDA, whatever they are."""
    function, arguments, is_step = program.build(size, mesh)
    function = sharding.on_each_device(function, arguments, mesh)
    jitted = jax.jit(function, donate_argnums=(0,) if is_step else (), out_shardings=sharding.replicated(mesh))
    with memory_of_device(None):
        return jitted.trace(*arguments).lower(lowering_platforms=("cuda",))


def _search(part: str, preset: str, **changes) -> Callable:
    def build(size, mesh):
        config = dataclasses.replace(PRESETS[preset], batch_size=size.batch_size, **size.supernet, **changes)
        setup = kind_of(config).setup(config, published_training_split(config.dataset))
        if config.strategy == "gradient":
            functions, arguments = search_programs.search_programs(setup.functions), search_programs.arguments(setup, mesh)
        else:
            functions, arguments = sampled_programs.sampled_programs(setup.functions), sampled_programs.arguments(setup, mesh)
        return getattr(functions, part), arguments[part], part.endswith("_step")

    return build


def _training(**changes) -> Callable:
    def build(size, mesh):
        settings = {"genotype": GENOTYPE, "batch_size": size.batch_size, **size.derived, **changes}
        if "adversarial" in changes:
            settings["attack_steps"] = size.steps
        config = dataclasses.replace(TRAINING_PRESETS["cifar10"], **settings)
        setup = training_setup(config, published=published_training_split(config.dataset))
        functions = training_programs.training_programs(setup.functions)
        return functions.train_step, training_programs.arguments(setup, mesh)["train_step"], True

    return build


def _derived(function: Callable) -> Callable:
    """The builder of `function(logits_fn, images, labels, key, size)` on a derived network."""

    def build(size, mesh):
        net = derived_network(zoo.resolve(GENOTYPE), **size.derived, classes=10, mean=(0.5,) * 3, std=(0.25,) * 3)
        split, whole = sharding.split(mesh), sharding.replicated(mesh)
        images = jax.ShapeDtypeStruct((size.batch_size, 32, 32, 3), jnp.float32, sharding=split)
        labels = jax.ShapeDtypeStruct((size.batch_size,), jnp.int32, sharding=split)
        variables = compilation.abstract(jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3))), whole)
        key = compilation.abstract(jax.eval_shape(lambda: jax.random.key(0)), whole)

        def program(variables, images, labels, key):
            return function(lambda x: net.apply(variables, x), images, labels, key, size)

        return program, (variables, images, labels, key), False

    return build


def _pgd(logits_fn, images, labels, key, size):
    return attacks.pgd(logits_fn, images, labels, key, radius=8 / 255, steps=size.steps, keep="last").x_adv


def _margin(logits_fn, images, labels, key, size):
    return bounds.margin(logits_fn, images, labels, radius=1e-3, method=size.method)


JACOBIAN, CERTIFIED = "cifar10_dsrna_jacobian", "cifar10_dsrna_cb"

PROGRAMS = {
    "weight_step": Program(_search("weight_step", JACOBIAN)),
    "weight_step_bfloat16": Program(_search("weight_step", JACOBIAN, precision="bfloat16")),
    "weight_step_remat": Program(_search("weight_step", JACOBIAN, remat=True)),
    "alpha_step_jacobian": Program(_search("alpha_step", JACOBIAN, order="first")),
    "alpha_step_certified": Program(_search("alpha_step", CERTIFIED, order="first")),
    "alpha_step_jacobian_unrolled": Program(_search("alpha_step", JACOBIAN)),
    "sub_network_step": Program(_search("weight_step", "cifar10_random")),
    "train_step": Program(_training()),
    "train_step_pgd": Program(_training(adversarial="pgd", auxiliary_weight=0.0, drop_path=0.0)),
    "attack": Program(_derived(_pgd)),
    "bounds": Program(_derived(_margin)),
    "weight_step_8_devices": Program(_search("weight_step", JACOBIAN), devices=8),
    "alpha_step_8_devices": Program(_search("alpha_step", JACOBIAN, order="first"), devices=8),
    "train_step_8_devices": Program(_training(), devices=8),
}

SMALL = ("weight_step", "alpha_step_jacobian", "alpha_step_certified", "sub_network_step", "train_step", "attack", "bounds")
"""Those that are compiled in minutes at small size."""
