"""What a search step and what bounds cost: tracing, compiling and running, on random images."""

import resource
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from dsrna_jax import bounds, network, programs, sharding, zoo
from dsrna_jax.config import SearchConfig
from dsrna_jax.search import Batch, make_search


def search_step_cost(config: SearchConfig, size: int, colours: int = 3, classes: int = 10, repeats: int = 5) -> dict[str, Any]:
    """Seconds to trace and to compile a whole search step, and median milliseconds of its parts.

    `compile_s` is wall time from traced to compiled of the weight step and the alpha step, compiled side by side as a search
    does. `forward_ms` is evaluation; `weight_gradient_ms` and `alpha_gradient_ms` (R included) each contain their optimiser's
    update; `step_ms` is both. `operations` counts the instructions that XLA launches in a step, `peak_mb` what it allocates.
    """
    mesh = sharding.mesh(1)
    statistics_of = {"mean": (0.5,) * colours, "deviation": (0.25,) * colours}
    shape = {"steps": config.steps, "cells": config.cells, "channels": config.channels, "classes": classes}
    supernet = network.supernet(config.space, **shape, **statistics_of)
    search = make_search(config, supernet, (size, size, colours), steps_per_epoch=100)
    images, labels, draw = jax.random.split(jax.random.key(1), 3)
    batch = Batch(
        jax.random.uniform(images, (config.batch_size, size, size, colours)),
        jax.random.randint(labels, (config.batch_size,), 0, classes),
    )
    state = programs.initial_state(search, config.seed, mesh)
    began = time.perf_counter()
    lowered = [
        jax.jit(search.weight_step).lower(state, batch),
        jax.jit(search.alpha_step).lower(state, batch, batch, draw),
        jax.jit(search.evaluate).lower(state, batch),
    ]
    traced, options = time.perf_counter(), sharding.compiler_options(mesh)
    with ThreadPoolExecutor(2) as pool:
        weight_step, alpha_step = pool.map(lambda f: f.compile(compiler_options=options), lowered[:2])
    compiled = time.perf_counter()
    forward = lowered[2].compile(compiler_options=options)
    parts = [weight_step, alpha_step]
    return {
        "space": config.space,
        "metric": config.metric,
        "order": config.order,
        "cells": config.cells,
        "channels": config.channels,
        "size": size,
        "batch_size": config.batch_size,
        "weights": network.weight_count(supernet, (size, size, colours)),
        "trace_s": round(traced - began, 1),
        "compile_s": round(compiled - traced, 1),
        "forward_ms": _median_ms(lambda: forward(state, batch), repeats),
        "weight_gradient_ms": _median_ms(lambda: weight_step(state, batch), repeats),
        "alpha_gradient_ms": _median_ms(lambda: alpha_step(state, batch, batch, draw), repeats),
        "step_ms": _median_ms(lambda: weight_step(alpha_step(state, batch, batch, draw)[0], batch), repeats),
        "operations": sum(_launched(part.as_text()) for part in parts),
        "peak_mb": round(max(_megabytes(part) for part in parts)),
        "process_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "device": sharding.described(mesh),
        "jax": jax.__version__,
    }


def bounds_cost(
    config: SearchConfig, size: int, genotype: str, method: str, colours: int = 3, repeats: int = 5
) -> dict[str, Any]:
    """Seconds to compile and median milliseconds of certified margins of a derived network, and of its forward pass.

    Of the configuration only cells, channels, batch_size and seed count. `ratio` is margins over forward pass.
    """
    statistics_of = {"mean": (0.5,) * colours, "deviation": (0.25,) * colours}
    net = network.derived(zoo.resolve(genotype), cells=config.cells, channels=config.channels, classes=10, **statistics_of)
    images = jax.random.uniform(jax.random.key(1), (config.batch_size, size, size, colours))
    variables = jax.jit(net.init)(jax.random.key(config.seed, impl="rbg"), images[:1])
    labels = jax.numpy.zeros(config.batch_size, int)

    def margins(variables, images, radius):
        return bounds.margin(lambda x: net.apply(variables, x), images, labels, radius, method=method)

    forward = jax.jit(net.apply).lower(variables, images).compile()
    began = time.perf_counter()
    lowered = jax.jit(margins).lower(variables, images, 1e-3)
    traced = time.perf_counter()
    compiled = lowered.compile()
    compile_s = time.perf_counter() - traced
    forward_ms = _median_ms(lambda: forward(variables, images), repeats)
    margin_ms = _median_ms(lambda: compiled(variables, images, 1e-3), repeats)
    return {
        "genotype": genotype,
        "method": method,
        "cells": config.cells,
        "channels": config.channels,
        "size": size,
        "batch_size": config.batch_size,
        "trace_s": round(traced - began, 1),
        "compile_s": round(compile_s, 1),
        "forward_ms": forward_ms,
        "margin_ms": margin_ms,
        "ratio": round(margin_ms / forward_ms, 1),
        "peak_mb": round(_megabytes(compiled)),
        "device": sharding.described(sharding.mesh(1)),
        "jax": jax.__version__,
    }


def _median_ms(call, repeats):
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return round(1e3 * statistics.median(times), 1)


def _launched(program: str) -> int:
    """Instructions of a compiled program outside of its fused computations."""
    entry = program[program.index("\nENTRY") :].splitlines()
    free = (" parameter(", " constant(", " bitcast(", " tuple(", " get-tuple-element(")
    return sum(" = " in line and not any(f in line for f in free) for line in entry)


def _megabytes(program) -> float:
    memory = program.memory_analysis()
    return (memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes) / 1e6
