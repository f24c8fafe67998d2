"""Cost of search steps, training steps, bounds and attacks: tracing, compiling and running, on random images."""

import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from dsrna_jax import attacks, bounds
from dsrna_jax.genotypes import zoo
from dsrna_jax.networks import network
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.runtime import compilation, sharding
from dsrna_jax.runtime.compute_options import maps_type
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.setup import searched_network
from dsrna_jax.search.state import SearchBatch
from dsrna_jax.search.step import search_functions
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.setup import trained_network
from dsrna_jax.training.step import training_functions


def search_step_cost(config: SearchConfig, size: int, colours: int = 3, classes: int = 10, repeats: int = 5) -> dict[str, Any]:
    """Seconds to trace and to compile a whole search step, and median milliseconds of its parts.

    `compile_s` is wall time from traced to compiled of the weight step and the alpha step, compiled side by side as a search
    does. `forward_ms` is evaluation; `weight_gradient_ms` and `alpha_gradient_ms` (R included) each contain their optimiser's
    update; `step_ms` is both, `step_cpu_ms` the CPU time of both in all threads. `operations` counts the instructions that XLA
    launches in a step, `peak_mb` what it allocates.
    """
    mesh = sharding.mesh(1)
    statistics_of = {"mean": (0.5,) * colours, "std": (0.25,) * colours}
    supernet = searched_network(config, (size, size, colours), classes, **statistics_of)
    functions = search_functions(config, supernet, (size, size, colours), steps_per_epoch=100)
    images, labels, draw = jax.random.split(jax.random.key(1), 3)
    batch = SearchBatch(
        jax.random.uniform(images, (config.batch_size, size, size, colours)),
        jax.random.randint(labels, (config.batch_size,), 0, classes),
    )
    state = compilation.initial_state(functions.init, config.seed, mesh)
    began = time.perf_counter()
    lowered = [
        jax.jit(functions.weight_step).lower(state, batch, draw),
        jax.jit(functions.alpha_step).lower(state, batch, batch, draw),
        jax.jit(functions.evaluate).lower(state, batch),
    ]
    traced, options = time.perf_counter(), sharding.compiler_options(mesh)
    with ThreadPoolExecutor(2) as pool:
        weight_step, alpha_step = pool.map(lambda f: f.compile(compiler_options=options), lowered[:2])
    compiled = time.perf_counter()
    forward = lowered[2].compile(compiler_options=options)
    parts = [weight_step, alpha_step]
    whole_step = lambda: weight_step(alpha_step(state, batch, batch, draw)[0], batch, draw)  # noqa: E731
    return {
        "space": config.space,
        "metric": config.metric,
        "order": config.order,
        "mixture": config.mixture,
        "perturbation": config.perturbation,
        "cells": config.cells,
        "channels": config.channels,
        "size": size,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "weights": network.weight_count(supernet, (size, size, colours)),
        "trace_s": round(traced - began, 1),
        "compile_s": round(compiled - traced, 1),
        "forward_ms": median_ms(lambda: forward(state, batch), repeats),
        "weight_gradient_ms": median_ms(lambda: weight_step(state, batch, draw), repeats),
        "alpha_gradient_ms": median_ms(lambda: alpha_step(state, batch, batch, draw), repeats),
        "step_ms": median_ms(whole_step, repeats),
        "step_cpu_ms": median_ms(whole_step, repeats, clock=time.process_time),
        "operations": sum(_launched(part.as_text()) for part in parts),
        "peak_mb": round(max(_megabytes(part) for part in parts)),
        "process_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "device": sharding.described(mesh),
        "jax": jax.__version__,
    }


def bounds_cost(
    config: SearchConfig, size: int, genotype: str, method: str, colours: int = 3, repeats: int = 5, given: str | None = None
) -> dict[str, Any]:
    """Seconds to compile and median milliseconds of certified margins of a derived network, and of its forward pass.

    Of the configuration only cells, channels, batch_size and seed count. `given` is a method of the intermediate bounds, in place
    of the method's own. `ratio` is margins over forward pass, `mean_margin` that of all images at radius 0.001.
    """
    net, variables, images, labels = _derived(config, size, genotype, colours)

    def margins(variables, images, radius):
        logits = lambda x: net.apply(variables, x)  # noqa: E731
        known = None if given is None else bounds.intermediate(logits, images, radius=radius, method=given)
        return bounds.margin(logits, images, labels, radius=radius, method=method, given=known)

    forward, _ = _compiled(net.apply, variables, images)
    compiled, cost = _compiled(margins, variables, images, 1e-3)
    forward_ms = median_ms(lambda: forward(variables, images), repeats)
    margin_ms = median_ms(lambda: compiled(variables, images, 1e-3), repeats)
    times = {"forward_ms": forward_ms, "margin_ms": margin_ms, "ratio": round(margin_ms / forward_ms, 1)}
    times["mean_margin"] = float(compiled(variables, images, 1e-3).mean())
    return _described(config, size, genotype) | {"method": method, "given": given} | cost | times | _where(compiled)


def attack_cost(config: SearchConfig, size: int, genotype: str, steps: int, repeats: int = 5) -> dict[str, Any]:
    """Seconds to compile and median milliseconds of PGD within 8/255 (linf) on a derived network.

    Arguments as `bounds_cost`; `precision` counts too.
    """
    net, variables, images, labels = _derived(config, size, genotype)
    net = net.clone(dtype=maps_type(config.precision))

    def attack(variables, images, labels, key, radius):
        logits = lambda x: net.apply(variables, x)  # noqa: E731
        return attacks.pgd(logits, images, labels, key, radius=radius, steps=steps, keep="last").x_adv

    arguments = variables, images, labels, jax.random.key(0)
    compiled, cost = _compiled(attack, *arguments, 8 / 255)
    times = {"steps": steps, "attack_ms": median_ms(lambda: compiled(*arguments, 8 / 255), repeats)}
    return _described(config, size, genotype) | cost | times | _where(compiled)


def training_step_cost(config: SearchConfig, size: int, genotype: str, repeats: int = 5) -> dict[str, Any]:
    """Seconds to compile and median milliseconds of a training step with auxiliary head and drop path, update included.

    Arguments as `bounds_cost`; `precision` and `remat` count too.
    """
    shared = {name: getattr(config, name) for name in ("cells", "channels", "batch_size", "precision", "remat")}
    training_config = TrainingConfig(genotype=genotype, **shared, auxiliary_weight=0.4, drop_path=0.3)
    net = trained_network(training_config, zoo.resolve(genotype), 10, (0.5,) * 3, (0.25,) * 3)
    functions = training_functions(training_config, net, (size, size, 3), steps_per_epoch=100)
    state = compilation.initial_state(functions.init, config.seed, sharding.mesh(1))
    images = jax.random.randint(jax.random.key(1), (config.batch_size, size, size, 3), 0, 256).astype("uint8")
    arguments = state, images, jax.numpy.zeros(config.batch_size, int), jax.random.key(2)
    compiled, cost = _compiled(functions.train_step, *arguments)
    times = {"weights": network.weight_count(net, (size, size, 3)), "step_ms": median_ms(lambda: compiled(*arguments), repeats)}
    return _described(config, size, genotype) | cost | times | _where(compiled)


def _derived(config, size, genotype, colours=3):
    """A derived network with random weights, and a batch of random images with labels."""
    statistics_of = {"mean": (0.5,) * colours, "std": (0.25,) * colours}
    net = derived_network(zoo.resolve(genotype), cells=config.cells, channels=config.channels, classes=10, **statistics_of)
    images = jax.random.uniform(jax.random.key(1), (config.batch_size, size, size, colours))
    variables = jax.jit(net.init)(jax.random.key(config.seed, impl="rbg"), images[:1])
    return net, variables, images, jax.numpy.zeros(config.batch_size, int)


def _compiled(f, *arguments):
    """The compiled function, and the seconds that tracing and compiling took."""
    began = time.perf_counter()
    lowered = jax.jit(f).lower(*arguments)
    traced = time.perf_counter()
    compiled = lowered.compile(compiler_options=sharding.compiler_options(sharding.mesh(1)))
    return compiled, {"trace_s": round(traced - began, 1), "compile_s": round(time.perf_counter() - traced, 1)}


def _described(config, size, genotype):
    shape = {"cells": config.cells, "channels": config.channels, "size": size, "batch_size": config.batch_size}
    return {"genotype": genotype, **shape}


def _where(compiled):
    return {"peak_mb": round(_megabytes(compiled)), "device": sharding.described(sharding.mesh(1)), "jax": jax.__version__}


def median_ms(call, repeats, digits=1, clock=time.perf_counter):
    """Median time of `repeats` calls in milliseconds, rounded to `digits` decimals, after one that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        began = clock()
        jax.block_until_ready(call())
        times.append(clock() - began)
    return round(1e3 * statistics.median(times), digits)


def _launched(program: str) -> int:
    """Instructions of a compiled program outside of its fused computations."""
    entry = program[program.index("\nENTRY") :].splitlines()
    free = (" parameter(", " constant(", " bitcast(", " tuple(", " get-tuple-element(")
    return sum(" = " in line and not any(f in line for f in free) for line in entry)


def _megabytes(program) -> float:
    memory = program.memory_analysis()
    return (memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes) / 1e6
