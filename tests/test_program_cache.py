"""Kept programs: looked up by a hash of all that decides them, and not traced again."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

from dsrna_jax.runtime import compilation, program_cache, sharding


class Programs(NamedTuple):
    step: object


@pytest.fixture
def traced(tmp_path):
    """A function (identity, factor, argument) -> result of a program of that identity; the identities traced; the folder."""
    count, mesh, before = [], sharding.mesh(1), jax.config.jax_compilation_cache_dir
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


def test_a_program_is_traced_once(traced):
    run, count, _ = traced
    np.testing.assert_array_equal(run("a"), [2, 4])
    np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a"]


def test_another_identity_shape_or_version_of_the_code_is_another_program(traced, monkeypatch):
    run, count, _ = traced
    run("a")
    np.testing.assert_array_equal(run("b", 3.0), [3, 6])
    np.testing.assert_array_equal(run("a", argument=(1.0, 2.0, 3.0)), [2, 4, 6])
    monkeypatch.setattr(program_cache, "_surroundings", lambda: ("other sources",))
    run("a")
    assert count == ["a", "b", "a", "a"]


def test_a_damaged_file_is_compiled_anew_and_replaced(traced):
    run, count, folder = traced
    run("a")
    (file,) = folder.glob("program-*")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    np.testing.assert_array_equal(run("a"), [2, 4])
    assert count == ["a", "a"]
    run("a")
    assert len(count) == 2 and [f.name for f in folder.glob("program-*")] == [file.name]


@pytest.fixture
def own_cache(traced):
    """JAX's own cache, in the same folder, for programs that compile in no time."""
    shortest = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    compilation_cache.reset_cache()  # else it stays in the folder of its first use
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", shortest)
    compilation_cache.reset_cache()


def test_a_program_from_jaxs_own_cache_is_not_kept(traced, own_cache):
    """XLA writes a program that it has read itself without its machine code."""
    run, count, folder = traced
    run("a")
    next(folder.glob("program-*")).unlink()
    run("a")
    run("a")
    assert count == ["a"] * 3 and not list(folder.glob("program-*"))


def test_hits_of_jaxs_own_cache_are_counted_by_thread(own_cache):
    """If this fails with a new version of JAX, look for the name of its event: `_CACHE_HIT`."""

    def compile_once(_=None):
        with program_cache.counted_cache_hits() as hits:
            jax.jit(lambda x: x * 3.125 + 1).lower(1.0).compile()
        return len(hits)

    assert [compile_once(), compile_once()] == [0, 1]
    with program_cache.counted_cache_hits() as here, ThreadPoolExecutor(1) as pool:
        assert list(pool.map(compile_once, range(2))) == [1, 1]
    assert not here


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
