"""The latency that a search expects is that of its table, and a table that does not fit is refused in one line."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax.errors import InputError
from dsrna_jax.genotypes.operations import OPERATIONS
from dsrna_jax.networks import spaces
from dsrna_jax.networks.parts import expected_cost, is_free, parts
from dsrna_jax.networks.plan import Part
from dsrna_jax.networks.stem import STEMS
from dsrna_jax.runtime.machine import hardware
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.latency import LatencyTable, load
from dsrna_jax.search.resources import resource_of
from dsrna_jax.search.setup import search_setup
from dsrna_jax.search.state import SearchBatch
from experiments import benchmark
from experiments.benchmarks import latency

SHAPE = (8, 8, 1)
CONFIG = SearchConfig(
    space="proxyless", mixture="binary", metric="none", gamma=0.0, cells=3, channels=4, batch_size=32, resource_weight=0.1
)


def supernet(space="proxyless"):
    return spaces.supernet(space, nodes=1, cells=3, channels=4, classes=10, mean=(0.5,), std=(0.3,))


def every_part(network):
    fixed, branches = parts(network, SHAPE)
    return [part for part in dict.fromkeys([*fixed, *(part for row in branches for part in row)]) if not is_free(part)]


def table(path, network, **machine):
    """A table, saved in `path`, of one millisecond for the first part, two for the second, and so on."""
    made = LatencyTable(hardware() | machine, 32, {part: 1.0 + i for i, part in enumerate(every_part(network))})
    made.save(path)
    return made


def costs(path, network, **changes):
    resource = resource_of(with_table(path, **changes), network, SHAPE)
    assert resource is not None and resource.metric == "latency_ms"
    return resource.costs


def with_table(path, **changes):
    return dataclasses.replace(CONFIG, resource="latency", latency_table=str(path), **changes)


@pytest.mark.parametrize("space", ["proxyless", "darts"])
def test_expected_latency_is_the_sum_of_shares_times_entries(space, tmp_path):
    network = supernet(space)
    made = table(tmp_path / "table.json", network)
    ours_of = costs(tmp_path / "table.json", network, space=space)
    primitives = SearchConfig(space=space).primitives

    @jax.jit
    def shares_and_cost(key):
        alphas = jax.tree.map(lambda rows: 500 * rows, spaces.initial_alphas(key, space, 1, cells=3))
        shares = jax.tree.map(jax.nn.softmax, alphas)
        mixtures = spaces.mixtures(alphas, 1, primitives, shares, space=space)
        return shares, expected_cost(network, SHAPE, mixtures, ours_of.__getitem__)

    shares, cost = jax.device_get(shares_and_cost(jax.random.key(0)))
    fixed, branches = parts(network, SHAPE)
    expected = sum(made.milliseconds[part] for part in fixed)
    for index, row in enumerate(branches):
        group, kinds = network.group(index), [name for name in primitives if name != "none"]
        for column, part in enumerate(row):
            edge, name = (index, part.name) if space == "proxyless" else (column // len(kinds), kinds[column % len(kinds)])
            share = shares["blocks" if space == "proxyless" else group][edge, primitives.index(name)]
            expected += float(share) * (0 if is_free(part) else made.milliseconds[part])
    np.testing.assert_allclose(cost, expected, rtol=1e-5)


def test_a_larger_latency_is_penalised_through_the_alphas(tmp_path):
    network = supernet()
    table(tmp_path / "table.json", network)
    costs_of = costs(tmp_path / "table.json", network)

    def penalty(alphas):
        mixtures = spaces.mixtures({}, 1, CONFIG.primitives, {"blocks": jax.nn.softmax(alphas)}, space="proxyless")
        return jnp.log(expected_cost(network, SHAPE, mixtures, costs_of.__getitem__))

    gradient = jax.jit(jax.grad(penalty))(np.zeros((3, len(CONFIG.primitives)), np.float32))
    order = [CONFIG.primitives.index(part.name) for part in parts(network, SHAPE).branches[0]]
    assert (np.diff(np.asarray(gradient)[0, order]) > 0).all()  # entries grow in the order of the branches


def test_a_step_records_the_expected_latency(tmp_path):
    table(tmp_path / "table.json", supernet())
    functions = search_setup(with_table(tmp_path / "table.json")).functions
    state = jax.eval_shape(functions.init, jax.random.key(0))
    batch: Any = jax.eval_shape(lambda: SearchBatch(jnp.zeros((32, *SHAPE)), jnp.zeros(32, int)))
    _, metrics = jax.eval_shape(functions.alpha_step, state, batch, batch, jax.eval_shape(lambda: jax.random.key(0)))
    assert "latency_ms" in metrics and "multiply_adds" not in metrics


def test_a_search_does_not_go_on_with_another_table(tmp_path):
    made = table(tmp_path / "table.json", supernet())
    setups = [search_setup(with_table(tmp_path / "table.json"))]
    made._replace(milliseconds={part: 2 * time for part, time in made.milliseconds.items()}).save(tmp_path / "table.json")
    setups.append(search_setup(with_table(tmp_path / "table.json")))
    one, other = (setup.resolved["data"]["latency_table"] for setup in setups)
    assert one != other and repr(setups[0].identity) != repr(setups[1].identity)


def _without(field, value):
    return lambda content: content["parts"].pop(next(i for i, row in enumerate(content["parts"]) if row[field] == value))


MISTAKES = {
    "another CPU": (lambda content: content["machine"].update(processor="Z80"), r"another machine \(processor Z80; here proc"),
    "another device": (lambda content: content["machine"].update(device="NVIDIA H100"), "another machine .device NVIDIA H100"),
    "a part that lacks": (_without("name", "mbconv_5x5_e6"), "lacks 1 of the parts .* as mbconv_5x5_e6 from 12 to 4"),
    "another batch": (lambda content: content.update(batch_size=7), "times of batches of 7 images, and batch_size="),
    "a part twice": (lambda content: content["parts"].append(content["parts"][0]), "two rows of one part"),
    "no time": (lambda content: content["parts"][1].update(milliseconds=0), r"parts\[1\].milliseconds to be a number in \(0"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_table_that_does_not_fit_is_refused_in_one_line(mistake, tmp_path):
    file, (change, message) = tmp_path / "table.json", MISTAKES[mistake]
    table(file, supernet())
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        search_setup(with_table(file))
    assert "\n" not in str(error.value)


def test_an_absent_table_and_options_without_it_are_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"no latency table .*absent.json: python -m experiments.benchmark --what=latency makes"):
        search_setup(with_table(tmp_path / "absent.json"))
    for changes, missing in (
        ({"resource_weight": 0.0}, "a resource_weight, such as 0.1$"),
        ({"latency_table": ""}, "the latency_table"),
    ):
        with pytest.raises(InputError, match=f"resource=latency needs {missing}"):
            dataclasses.replace(with_table("x"), **changes)
    with pytest.raises(InputError, match="latency_table='x' is of resource=latency"):
        dataclasses.replace(CONFIG, latency_table="x")


def test_the_benchmark_writes_the_table_that_its_search_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(latency, "part_ms", lambda part, batch_size, repeats: 1.5)
    file = tmp_path / "table.json"
    flags = [f"--{name}={getattr(CONFIG, name)}" for name in ("space", "mixture", "cells", "channels", "batch_size")]
    benchmark.main(["benchmark", "--what=latency", f"--table={file}", *flags])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["milliseconds"] for row in rows} == {1.5} and len(rows) == len(load(file).milliseconds) > 8
    assert search_setup(with_table(file)).functions.resource.digest


@pytest.mark.parametrize("name", [*OPERATIONS, "preprocess", "factorized_reduce", "head", *(f"stem_{start}" for start in STEMS)])
def test_every_part_is_measured_as_a_map_of_its_channels(name):
    side, stride = (32 if "stem" in name else 8), 2 if name in ("factorized_reduce", "skip_connect") else 1
    part = Part(name, 3 if "stem" in name else 12, 12, side, side, stride)
    if is_free(part):
        assert name == "none"
        return
    initial, apply = latency.program(part)
    x = jax.ShapeDtypeStruct((2, side, side, 3) if "stem" in name else (12, 2, side, side), jnp.float32)
    variables = jax.eval_shape(initial, jax.eval_shape(lambda: jax.random.key(0)), x)
    output = jax.tree.leaves(jax.eval_shape(apply, variables, x))[-1]
    side //= STEMS[name.removeprefix("stem_")].scales[1] if "stem" in name else stride
    assert output.shape[-4:] == ((2, 12) if name == "head" else (12, 2, side, side))
