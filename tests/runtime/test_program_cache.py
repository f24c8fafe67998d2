"""Kept programs: looked up by a hash of all that decides them, not traced again, and trusted only where nobody else writes."""

import dataclasses
import stat
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from dsrna_jax import genotypes
from dsrna_jax.commands import process
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.runtime import compilation, exported, program_cache, sharding
from dsrna_jax.runtime.device_data import on_devices
from dsrna_jax.runtime.options import names_in_programs
from dsrna_jax.search import programs as search_programs
from dsrna_jax.search.setup import search_setup
from dsrna_jax.training import programs as training_programs
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.setup import training_setup

KEY = jax.eval_shape(lambda: jax.random.key(0))


class Programs(NamedTuple):
    step: object


class Stepping(NamedTuple):
    count_step: object


class Weighing(NamedTuple):
    weight_step: object


@pytest.fixture
def traced(tmp_path):
    """A function (identity, factor, argument) -> result of a program of that identity; the identities traced; the folder."""
    count, mesh, before = [], sharding.mesh(1), jax.config.jax_compilation_cache_dir
    tmp_path.chmod(0o700)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    compilation_cache.reset_cache()  # else it stays in the folder of its first use, and after the test in this one

    def run(identity, factor=2.0, argument=(1.0, 2.0)):
        def step(x):
            count.append(identity)
            return {"product": factor * x}

        x = jnp.array(argument)
        shapes = {"step": (jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding.replicated(mesh)),)}
        return compilation.compiled(Programs(step), shapes, mesh, identity).step.result()(x)["product"]

    yield run, count, tmp_path
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.fixture(params=["cold", "warm"])
def jaxs_cache(request, traced):
    """JAX's own cache, which holds the machine code of every program, however quickly that compiles, or of none."""
    shortest = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0 if request.param == "warm" else 1e9)
    yield request.param
    jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)


def test_a_program_is_traced_once(traced, jaxs_cache):
    run, count, folder = traced
    np.testing.assert_array_equal(run("a"), [2, 4])
    np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a"] and len(list(folder.glob("program-*"))) == 1


def test_a_program_is_kept_when_jax_holds_its_machine_code(traced, jaxs_cache):
    run, count, folder = traced
    run("a")
    next(folder.glob("program-*")).unlink()
    for _ in range(3):
        np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a", "a"]


def test_another_identity_shape_or_version_of_the_code_is_another_program(traced, monkeypatch):
    run, count, _ = traced
    run("a")
    np.testing.assert_array_equal(run("b", 3.0), [3, 6])
    np.testing.assert_array_equal(run("a", argument=(1.0, 2.0, 3.0)), [2, 4, 6])
    monkeypatch.setattr(program_cache, "_surroundings", lambda: ("other sources",))
    run("a")
    assert count == ["a", "b", "a", "a"]


def halved(whole):
    return whole[: len(whole) // 2]


def flipped(whole):
    return whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]


@pytest.mark.parametrize("damage", [halved, flipped, lambda whole: b"", lambda whole: b"{}\n", lambda whole: b"[1]\nx"])
def test_a_damaged_program_is_traced_anew_and_replaced(traced, jaxs_cache, damage, caplog):
    run, count, folder = traced
    run("a")
    (file,) = folder.glob("program-*")
    file.write_bytes(damage(file.read_bytes()))
    np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a", "a"] and [record.getMessage() for record in caplog.records] == [
        f"{file} was damaged: its program is traced anew, and replaces it"
    ]
    run("a")
    assert len(count) == 2 and [f.name for f in folder.glob("program-*")] == [file.name]


@pytest.mark.parametrize("jaxs_cache", ["warm"], indirect=True)
@pytest.mark.parametrize("damage", [halved, flipped])
def test_damaged_machine_code_is_compiled_anew_and_replaced(traced, jaxs_cache, damage, caplog, recwarn):
    run, count, folder = traced
    run("a")
    (entry,) = folder.glob("jit_step_*-cache")
    before = entry.read_bytes()
    entry.write_bytes(damage(before))
    for _ in range(2):
        np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a"] and entry.read_bytes() != damage(before) and not recwarn.list
    assert [record.getMessage() for record in caplog.records] == [
        f"{entry} was damaged: it is deleted, and its program compiled anew"
    ]


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_others_may_write_is_not_read(traced, what, caplog):
    run, count, folder = traced
    run("a")
    (file,) = folder.glob("program-*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    path = file if what == "file" else folder
    path.chmod(path.stat().st_mode | stat.S_IWOTH)
    np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a", "a"] and f"{path} is not yours alone to write" in caplog.text


def test_the_folder_of_programs_is_closed_to_others(tmp_path, monkeypatch):
    before = {
        name: getattr(jax.config, name) for name in ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    }
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", str(tmp_path / "given" / "cache")):
        monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", given)
        process.enable_compilation_cache()
        assert stat.S_IMODE(program_cache.folder().stat().st_mode) == 0o700
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.filterwarnings("ignore:Error .* persistent compilation cache")  # JAX's own, which cannot use the folder either
def test_nothing_is_kept_without_a_folder_that_can_be_written(traced):
    run, count, folder = traced
    jax.config.update("jax_compilation_cache_dir", None)
    run("a")
    (folder / "file").write_text("")
    jax.config.update("jax_compilation_cache_dir", str(folder / "file" / "inside"))
    np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a", "a"] and not list(folder.rglob("program-*"))


def test_the_least_recently_used_program_is_deleted(traced, monkeypatch):
    run, count, folder = traced
    run("a")
    (size,) = [file.stat().st_size for file in folder.glob("program-*")]
    monkeypatch.setattr(program_cache, "MOST_BYTES", 5 * size // 2)
    for identity in ("a", "b", "a", "c"):  # b was not used for longest
        run(identity)
    assert len(list(folder.glob("program-*"))) == 2
    run("a")
    assert count == ["a", "b", "c"]
    run("b")
    assert count == ["a", "b", "c", "b"]


def test_a_step_takes_over_the_memory_of_its_state_and_draws_by_its_key():
    mesh, key = sharding.mesh(1), jax.random.key(3)
    shapes = compilation.abstract(({"n": jnp.zeros(3)}, key), sharding.replicated(mesh))

    def count_step(state, key):
        return {"n": state["n"] + 1}, {"draw": jax.random.uniform(key)}

    program = compilation.compiled(Stepping(count_step), {"count_step": shapes}, mesh, "own").count_step.result()
    state = {"n": jnp.arange(3.0)}
    moved, metrics = program(state, key)
    np.testing.assert_array_equal(moved["n"], [1, 2, 3])
    assert state["n"].is_deleted() and metrics["draw"] == jax.random.uniform(key)


def search_of(metric="none", **changes):
    small = {"space": "darts", "operations": "06,03;06,03", "channels": 2}
    setup = search_setup(dataclasses.replace(PRESETS["smoke"], metric=metric, **small | changes))
    return setup, search_programs.search_programs(setup.functions), search_programs.arguments(setup, sharding.mesh(1))


def training_of(folder, number, **changes):
    cell = (("sep_conv_3x3", 0), ("skip_connect", 1))
    genotypes.save(genotypes.Genotype(cell, (2,), cell, (2,)), folder / f"{number}.json")
    config = TrainingConfig(genotype=str(folder / f"{number}.json"), cells=3, channels=4, batch_size=64, cutout=2, **changes)
    setup = training_setup(config)
    return setup, training_programs.training_programs(setup.functions), training_programs.arguments(setup, sharding.mesh(1))


def texts_of(setup, programs, arguments):
    """The StableHLO of the first state and of all programs, by name."""
    texts = {"init": jax.jit(setup.functions.given((0.0,), (1.0,), {}).init).lower(KEY).as_text()}
    for name, shapes in arguments.items():
        signature = exported.Signature(shapes, sharding.replicated(sharding.mesh(1)), name.endswith("_step"))
        texts[name] = exported.exported(getattr(programs, name), signature).mlir_module()
    return texts


@pytest.mark.parametrize("metric", ["jacobian", pytest.param("certified", marks=pytest.mark.slow)])
def test_two_seeds_run_the_same_programs(metric):
    """They draw other halves, whose statistics are data: the same StableHLO, under the same name in the cache."""
    runs = [search_of(metric, seed=seed) for seed in (0, 1)]
    first, second = (setup for setup, _, _ in runs)
    texts = [texts_of(*run) for run in runs]  # on one line, which they contain
    assert texts[0] == texts[1] and repr(first.identity) == repr(second.identity)
    assert first.network.mean != second.network.mean


# Values that differ from the default, for every option that has no part in programs, or that they take as an argument. Those of
# files are left out: another data set has other shapes, and what a table of latencies holds is part of a search's identity.
OF_DATA = {"dataset", "data_dir", "examples", "center_crop", "crop_area", "loading", "workers"}
OF_FILES = {"search": OF_DATA | {"latency_table"}, "training": OF_DATA}
NOT_CONSTANT = {
    "search": [
        {
            "stop_skips": 2, "stop_stable": 3, "stop_eigenvalue": 1.3, "stop_eigenvalue_from": 2, "eigenvalue_every": 2,
            "seed": 1, "most_skips": 1, "stages": "3:8:0,4:4:0",
            "weight_decay": 0.1, "train_share": 0.501, "val_share": 0.499,
        },
        {"weight_decays": "1e-3,1e-2", "keep": "all", "retrain_epochs": 3, "retrain_cells": 4, "retrain_channels": 2},
        {"adapt_factor": 3.0, "adapt_most": 0.1, "stop_eigenvalue": 1.3, "eigenvalue_every": 2},
    ],
    "training": [{"genotype": "", "held_out": 0.101, "patience": 3, "collapse": 0.5, "seed": 1, "weight_decay": 0.1}],
}  # fmt: skip


@pytest.mark.parametrize("kind", [pytest.param("search", marks=pytest.mark.slow), "training"])
def test_options_that_are_no_constants_of_programs_leave_them_as_they_are(kind, tmp_path):
    def run(number, changes):
        if kind == "search":
            return search_of(operations="", **changes)  # stages begin with all of them
        own = {name: value for name, value in changes.items() if name != "genotype"}
        return training_of(tmp_path, number, adversarial="fast", **own)  # which has a collapse to stop at

    plain = run(0, {"eigenvalue_every": 1} if kind == "search" else {})
    listed = {name for part in ("none", "argument") for name in names_in_programs(plain[0].config, part)}
    assert listed == {name for changes in NOT_CONSTANT[kind] for name in changes} | OF_FILES[kind]
    others = [run(number, changes) for number, changes in enumerate(NOT_CONSTANT[kind], 1)]
    expected, *texts = [texts_of(*each) for each in (plain, *others)]  # on one line, which they contain
    for changes, (setup, _, _), of_programs in zip(NOT_CONSTANT[kind], others, texts, strict=True):
        assert all(getattr(setup.config, name) != getattr(plain[0].config, name) for name in changes)
        assert repr(setup.identity) == repr(plain[0].identity)
        assert of_programs == {name: expected[name] for name in of_programs}


@pytest.mark.slow
@pytest.mark.parametrize("jaxs_cache", ["warm"], indirect=True)
def test_weight_decays_share_a_compiled_step_that_follows_each(traced, jaxs_cache, monkeypatch):
    compiled, kept, states = [], [], []
    monkeypatch.setattr(compilation, "exported", lambda *a: compiled.append(a) or exported.exported(*a))
    jax.monitoring.register_event_listener(lambda event, **_: kept.append(event))
    for decay in (0.0, 0.5):
        setup, programs, arguments = search_of(weight_decay=decay, clip=1e9)
        mesh, shapes = sharding.mesh(1), {"weight_step": arguments["weight_step"]}
        misses = kept.count("/jax/compilation_cache/cache_misses")
        step = compilation.compiled(Weighing(programs.weight_step), shapes, mesh, setup.identity).weight_step.result()
        misses = kept.count("/jax/compilation_cache/cache_misses") - misses
        assert len(compiled) == 1 and (misses > 0) == (decay == 0.0)
        begun = compilation.initial_state(setup.functions.init, 0, mesh)
        weights = jax.device_get(begun.weights)
        data, key = on_devices(setup.data, mesh), jax.random.key(0)
        indices = jnp.arange(setup.config.batch_size, dtype=jnp.int32)
        states.append(jax.device_get(step(begun, data, indices, key)[0].weights))
    jax.tree.map(
        lambda w, without, with_decay: np.testing.assert_allclose(without - with_decay, 0.1 * 0.5 * w, rtol=1e-4, atol=1e-6),
        weights, *states,
    )  # fmt: skip
