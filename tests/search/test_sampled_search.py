"""Sampled searches end to end, small: records, resumption, and rewards of every kind."""

import dataclasses
import io
import json
import os
import signal

import numpy as np
import pytest
from smoke_run import at_step, restore_arrays

from dsrna_jax import genotypes
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.runtime import records
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.search.run import run
from dsrna_jax.search.sampled.loop import SampledLoop

pytestmark = pytest.mark.slow
SMALL = {
    "cells": 3, "channels": 8, "nodes": 1, "epochs": 2, "batch_size": 240, "children": 8,
}  # fmt: skip
# Supernets of three operations compile in half of the time of those of eight; of the two searches of RobNet, one attacks.
FEW, UNATTACKED = {"space": "robnet"}, {"supernet_attack_steps": 0, "fine_tune_steps": 0}
OWN = {
    "digits_enas": FEW,
    "digits_evolution": FEW | {"population": 4, "tournament": 2},
    "digits_nasnet": {"epochs": 0, "fine_tune_steps": 2},
    "digits_robnet_free": UNATTACKED,
}
METHODS = sorted(name for name, config in PRESETS.items() if config.strategy != "gradient" and config.dataset == "digits")


def small(name, **changes):
    return dataclasses.replace(PRESETS[name], **SMALL | OWN.get(name, {}) | changes)


@pytest.mark.parametrize("name", METHODS)
def test_a_search_records_its_children_and_finds_the_best_and_ends_the_same_when_stopped(name, tmp_path, monkeypatch):
    """Stopped in the midst of a round, and a random search in the supernet before, which all others have like it."""
    config, whole, path = small(name), tmp_path / "whole", tmp_path / "run"
    said = io.StringIO()
    found = run(config, whole, devices=1, file=said)
    lines = [*{line.split()[1]: line for line in said.getvalue().splitlines() if line.startswith("epoch ")}.values()]
    assert ["  loss " in line for line in lines] == [number < config.epochs for number in range(len(lines))], lines
    assert ["  best reward " in line for line in lines] == [number >= config.epochs for number in range(len(lines))], lines
    children = records.rows(whole / "children.jsonl")
    assert [row["child"] for row in children] == [*range(1, 9)]
    best = max(children, key=lambda row: row["reward"])
    rows = records.rows(whole / "metrics.jsonl")
    assert rows[-1]["best_child"] == best["child"] and rows[-1]["best_reward"] == best["reward"]
    assert rows[-1]["epoch"] == config.epochs + 2
    assert genotypes.load(whole / "genotype.json") == found and found.nodes == 1
    pictures = {"rewards.png"} | ({"curves.png"} if config.epochs else set())
    pictures |= set() if isinstance(found, genotypes.RobNet) else {"cells.png"}
    assert pictures <= {file.name for file in whole.iterdir()}
    resume, late = False, 2 * config.epochs + 5
    for step in (3, late) if name == "digits_random" else (late,):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            at_step(patch, step, lambda _: os.kill(os.getpid(), signal.SIGTERM), SampledLoop)
            run(config, path, resume=resume, devices=1, file=io.StringIO())
        resume = True
    run(config, path, resume=True, devices=1, file=io.StringIO())
    for file in ("metrics.jsonl", "children.jsonl", "genotype.json", "config.json"):
        assert (path / file).read_bytes() == (whole / file).read_bytes(), file
    ends = restore_arrays(path), restore_arrays(whole)
    assert {name: array.tobytes() for name, array in ends[0].items()} == {n: a.tobytes() for n, a in ends[1].items()}


@pytest.mark.parametrize("metric", ["jacobian", "certified"])
def test_rewards_add_all_objectives(metric, tmp_path):
    reward = "accuracy+0.5*pgd_accuracy+0.01*robustness-1e-8*multiply_adds"
    objectives = "accuracy,robustness,multiply_adds"
    plain = {"supernet_attack_steps": 0, "fine_tune_steps": 0}
    config = small("digits_robnet", metric=metric, reward=reward, objectives=objectives, children=4, epochs=1, **plain)
    run(config, tmp_path, devices=1, file=io.StringIO())
    for row in map(json.loads, (tmp_path / "children.jsonl").read_text().splitlines()):
        expected = row["accuracy"] + 0.5 * row["pgd_accuracy"] + 0.01 * row["robustness"] - 1e-8 * row["multiply_adds"]
        np.testing.assert_allclose(row["reward"], expected, rtol=1e-6)
        assert row["pgd_accuracy"] <= row["accuracy"] and row["multiply_adds"] > 1000
    members = json.loads((tmp_path / "front.json").read_text())
    assert {f"child_{row['child']:05}.json" for row in members} == {file.name for file in (tmp_path / "front").iterdir()}
    assert (tmp_path / "front.png").exists() and set(members[0]) == {"child", *objectives.split(",")}
