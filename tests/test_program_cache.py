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
from dsrna_jax.search import programs as search_programs
from dsrna_jax.search.setup import search_setup
from dsrna_jax.training import programs as training_programs
from dsrna_jax.training.config import TrainingConfig
from dsrna_jax.training.setup import training_setup


class Programs(NamedTuple):
    step: object


class Stepping(NamedTuple):
    count_step: object


@pytest.fixture
def traced(tmp_path):
    """A function (identity, factor, argument) -> result of a program of that identity; the identities traced; the folder."""
    count, mesh, before = [], sharding.mesh(1), jax.config.jax_compilation_cache_dir
    tmp_path.chmod(0o700)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))

    def run(identity, factor=2.0, argument=(1.0, 2.0)):
        def step(x):
            count.append(identity)
            return {"product": factor * x}

        x = jnp.array(argument)
        shapes = {"step": (jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding.replicated(mesh)),)}
        return compilation.compiled(Programs(step), shapes, mesh, identity).step.result()(x)["product"]

    yield run, count, tmp_path
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture(params=["cold", "warm"])
def jaxs_cache(request, traced):
    """JAX's own cache, which holds the machine code of every program, however quickly that compiles, or of none."""
    shortest = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0 if request.param == "warm" else 1e9)
    compilation_cache.reset_cache()  # else it stays in the folder of its first use
    yield request.param
    jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)
    compilation_cache.reset_cache()


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
    monkeypatch.setattr(program_cache, "KEPT", 2)
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


def search_of(seed, metric):
    setup = search_setup(dataclasses.replace(PRESETS["smoke"], seed=seed, metric=metric))
    return (
        setup,
        search_programs.search_programs(setup.functions),
        search_programs.arguments(setup, sharding.mesh(1)),
    )


def training_of(seed, folder):
    cell = (("sep_conv_3x3", 0), ("skip_connect", 1))
    genotypes.save(genotypes.Genotype(cell, (2,), cell, (2,)), folder / f"{seed}.json")
    config = TrainingConfig(genotype=str(folder / f"{seed}.json"), cells=6, channels=4, batch_size=64, seed=seed, cutout=2)
    setup = training_setup(config)
    return (
        setup,
        training_programs.training_programs(setup.functions),
        training_programs.arguments(setup, sharding.mesh(1)),
    )


@pytest.mark.parametrize("kind", ["jacobian", pytest.param("certified", marks=pytest.mark.slow), "training"])
def test_two_seeds_run_the_same_programs(kind, tmp_path):
    """They draw other halves, whose statistics are data: the same StableHLO, under the same name in the cache."""
    texts, identities, statistics = [], [], []
    for seed in (0, 1):
        setup, functions, arguments = training_of(seed, tmp_path) if kind == "training" else search_of(seed, kind)
        identities.append(repr(setup.identity))
        statistics.append(setup.network.mean)
        key = jax.eval_shape(lambda: jax.random.key(0))
        normalised = (training_programs if kind == "training" else search_programs).normalised
        unnormalised = normalised(setup.functions, (0.0,), (1.0,))
        texts.append([jax.jit(unnormalised.init).lower(key).as_text()])
        for name, shapes in arguments.items():
            signature = exported.Signature(shapes, sharding.replicated(sharding.mesh(1)), name.endswith("_step"))
            texts[-1].append(exported.exported(getattr(functions, name), signature).mlir_module())
    assert texts[0] == texts[1] and identities[0] == identities[1] and statistics[0] != statistics[1]
