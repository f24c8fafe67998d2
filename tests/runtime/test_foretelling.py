"""The time that a run will take: every program is called on its own arguments, and counts as often as the run calls it."""

import re
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import foretelling, sharding
from dsrna_jax.runtime.durations import in_words


class Programs(NamedTuple):
    move_step: Any
    judge: Any


def foretold(move_step, calls):
    mesh = sharding.mesh(1)
    whole = sharding.replicated(mesh)
    state = {"step": jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)}
    key = jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=whole)
    programs = Programs(move_step, lambda state: state["step"].sum())
    return foretelling.foretold(programs, {"move_step": (state, key), "judge": (state,)}, calls, mesh, move_step.__name__)


def move(state, key):
    return {"step": state["step"] + 1}, jax.random.uniform(key)


def test_the_time_of_a_run_is_that_of_all_calls(monkeypatch):
    monkeypatch.setattr(foretelling, "_seconds", lambda *_: 0.03)
    first, *rows, last = foretold(move, {"move_step": 10**9, "judge": 0})
    assert first.startswith("time on 1 cpu device")
    times = [re.fullmatch(r"  (.+): (\S+) s, (\S+) calls", row).groups() for row in rows]
    assert [(name, calls) for name, _, calls in times] == [("move step", "1,000,000,000"), ("judge", "0")]
    assert times[0][1] == "0.03" and f"about {in_words(0.03 * 10**9)} in all" in last


def test_the_time_of_a_call_is_the_median_of_several(monkeypatch):
    """The first call of a program, which may take longer, does not count; a step is called on the state that it returned."""
    clock = iter([0.0, 9.0, 10.0, 12.0, 20.0, 21.0, 30.0, 33.0])
    monkeypatch.setattr(foretelling, "time", SimpleNamespace(perf_counter=lambda: next(clock)))  # JAX asks the time too
    called = []
    state = jax.ShapeDtypeStruct((), jnp.int32, sharding=sharding.replicated(sharding.mesh(1)))

    def step(state):
        called.append(int(state))
        return (state + 1,)

    assert foretelling._seconds(step, (state,), True) == 2.0 and called == [0, 1, 2, 3]


def test_a_program_that_cannot_be_built_leaves_the_time_unknown():
    def refused(state, key):
        raise InputError("needs 9 GB")

    assert foretold(refused, {"move_step": 1, "judge": 1}) == ["WARN: its time is not known: needs 9 GB"]
