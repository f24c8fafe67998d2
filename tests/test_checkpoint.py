"""A checkpoint is restored bit for bit or not at all, and whatever happens to the newest, the one before is there."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import chex
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import checkpoint
from dsrna_jax.runtime.checkpoint import Checkpoints, restore_for_eval

METADATA = {"experiment": "search", "config": {"lr": 0.025, "cells": 8}, "genotype": [["none", 0], ["skip", 1]]}


class SearchState(NamedTuple):
    weights: Any
    batch_stats: Any
    alphas: Any
    optimizer: Any
    step: Any


@flax.struct.dataclass
class Average:
    decay: Any
    mean: Any


@chex.dataclass
class Radius:
    value: Any
    history: Any


def search_state(seed: int = 0) -> SearchState:
    """Random bits, so NaN payloads, infinities and denormals too, in every container that a state may hold."""
    rng = np.random.default_rng(seed)

    def bits(*shape):
        return jnp.asarray(rng.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32))

    weights = {"stem": {"kernel": bits(3, 3, 1, 4)}, "cell/0": [bits(4), (bits(2, 3), {})]}
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(1e-3), optax.masked(optax.trace(0.9), True))
    average = Average(decay=bits(), mean=Radius(value=bits(5).astype(jnp.bfloat16), history=jnp.array([True, False])))
    return SearchState(weights, {"mean": bits(4)}, {"normal": bits(14, 8)}, (optimizer.init(weights), average), jnp.int32(seed))


def assert_same(restored, saved):
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def abstract(state):
    return jax.eval_shape(lambda: state)


@pytest.fixture
def saved(tmp_path):
    """A folder with the checkpoints of steps 1 and 2, whose states are search_state(1) and search_state(2)."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save(step, search_state(step), METADATA | {"seed": step})
    return checkpoints


def test_restored_equals_saved_bit_for_bit(saved):
    step, state, metadata, skipped = saved.latest(abstract(search_state()))
    assert (step, metadata, skipped) == (2, METADATA | {"seed": 2}, [])
    assert_same(state, search_state(2))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))


def test_concrete_state_serves_as_abstract_state(saved):
    assert_same(saved.latest(search_state(7)).state, search_state(2))


def test_folder_without_checkpoints_has_no_latest_and_is_not_created(tmp_path):
    assert Checkpoints(tmp_path / "new").latest(abstract(search_state())) is None
    assert not (tmp_path / "new").exists()


def test_every_save_lands_and_newest_stay(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (0, 3, 4, 10):
        checkpoints.save(step, {"w": jnp.float32(step)}, {})
        assert checkpoints.steps[-1] == step
        assert checkpoints.latest({"w": jnp.float32(0)}).state["w"] == step
    assert checkpoints.steps == [4, 10]
    assert {entry.name for entry in tmp_path.iterdir()} == {"4", "10"}


def test_saving_a_step_again_replaces_it(saved):
    saved.save(2, search_state(5), {})
    assert saved.steps == [1, 2]
    assert_same(saved.latest(abstract(search_state())).state, search_state(5))


def test_plain_orbax_opens_it(saved):
    loaded = ocp.load(saved.folder / "2")
    np.testing.assert_array_equal(loaded["alphas"]["normal"], search_state(2).alphas["normal"])
    assert ocp.metadata(saved.folder / "2").custom_metadata == {"step": 2, "metadata": METADATA | {"seed": 2}}


# Damage


def damages(path: Path):
    """Each file of a checkpoint halved, deleted, and with one bit flipped; the sums also cut at every line."""
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        whole = file.read_bytes()
        broken = {"deleted": None}
        if whole:
            middle = len(whole) // 2
            broken["halved"] = whole[:middle]
            broken["flipped"] = whole[:middle] + bytes([whole[middle] ^ 0x80]) + whole[middle + 1 :]
        if file.name == "SHA256SUMS":
            lines = whole.splitlines(keepends=True)
            broken |= {f"cut to {n} lines": b"".join(lines[:n]) for n in range(len(lines))}
        for how, content in broken.items():
            file.unlink()
            if content is not None:
                file.write_bytes(content)
            yield f"{file.relative_to(path)} {how}"
            file.write_bytes(whole)


def test_any_damage_to_the_newest_falls_back_to_the_one_before(saved, capfd):
    wanted, seen = abstract(search_state()), 0
    for damage in damages(saved.folder / "2"):
        step, state, metadata, skipped = saved.latest(wanted)
        assert (step, metadata["seed"], len(skipped)) == (1, 1, 1), damage
        assert skipped[0].startswith("skipped the checkpoint of step 2: ") and "\n" not in skipped[0], damage
        if seen % 10 == 0:
            assert_same(state, search_state(1))
        seen += 1
    assert seen > 30
    assert saved.latest(wanted).step == 2  # the damage is undone
    assert capfd.readouterr() == ("", "")


def test_all_damaged_is_one_line_that_names_each(saved):
    (saved.folder / "1" / "_CHECKPOINT_METADATA").unlink()
    (saved.folder / "2" / "state" / "manifest.ocdbt").write_bytes(b"")
    with pytest.raises(InputError) as error:
        saved.latest(abstract(search_state()))
    message = str(error.value)
    assert "\n" not in message
    assert "step 1: _CHECKPOINT_METADATA: No such file" in message
    assert "step 2: state/manifest.ocdbt is not as it was written" in message


def test_damaged_later_step_does_not_count_among_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(9, {"w": jnp.float32(9)}, {})
    (tmp_path / "9" / "state" / "manifest.ocdbt").unlink()
    for step in (5, 6):
        checkpoints.save(step, {"w": jnp.float32(step)}, {})
    assert checkpoints.latest({"w": jnp.float32(0)}).step == 6
    checkpoints.save(9, {"w": jnp.float32(90)}, {})
    assert checkpoints.latest({"w": jnp.float32(0)}).state["w"] == 90
    assert checkpoints.steps == [9]


@pytest.mark.parametrize("change", ["shape", "dtype", "missing", "extra"])
def test_other_configuration_says_which_array_differs(saved, change):
    state = search_state()
    alphas = {
        "shape": {"normal": jnp.zeros((14, 7))},
        "dtype": {"normal": jnp.zeros((14, 8), jnp.int32)},
        "missing": {},
        "extra": state.alphas | {"reduction": jnp.zeros(3)},
    }[change]
    name = "alphas/reduction" if change == "extra" else "alphas/normal"
    with pytest.raises(InputError, match=rf"another configuration: {name} is .*, expected .*; resume with"):
        saved.latest(state._replace(alphas=alphas))


# Interruption


KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import jax.numpy as jnp
import numpy as np
from dsrna_jax.runtime.checkpoint import Checkpoints

folder, when = Path(sys.argv[1]), sys.argv[2]
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
checkpoints = Checkpoints(folder)
checkpoints.save(1, {"w": jnp.ones(3)}, {})

def watch():
    while not any(file.stat().st_size > 0 for file in folder.glob(".unfinished/**/ocdbt*/d/*")):
        time.sleep(0.001)
    die()

if when == "writing":
    threading.Thread(target=watch).start()
else:
    os.replace = die  # all is written, not yet in its place
noise = np.random.default_rng(0).random((100, 20_000), np.float32)
checkpoints.save(2, {f"w{i}": jnp.asarray(row) for i, row in enumerate(noise)}, {})
"""


def run(script: str, *args, **env) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"} | env
    command = [sys.executable, "-c", script, *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("when", ["writing", "publishing"])
def test_killed_while_saving_leaves_the_checkpoint_before(tmp_path, when):
    killed = run(KILLED, tmp_path, when)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / ".unfinished").exists()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.steps == [1]
    step, state, _, skipped = checkpoints.latest({"w": jnp.zeros(3)})
    assert (step, skipped) == (1, [])
    assert_same(state, {"w": jnp.ones(3)})
    checkpoints.save(2, state, {})
    assert {entry.name for entry in tmp_path.iterdir()} == {"1", "2"}


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", folder], check=True)


def assert_says_disk_is_full(message: str, checkpoints: Checkpoints, step: int):
    assert "\n" not in message
    for part in ("the disk is full", str(checkpoints.folder), f"step {step}, is untouched", "free some space"):
        assert part in message


def test_full_disk_is_one_line_and_leaves_the_checkpoint_before(small_disk, capfd, caplog):
    checkpoints = Checkpoints(small_disk / "checkpoints")
    checkpoints.save(1, {"w": jnp.arange(1000.0)}, {})
    noise = np.random.default_rng(0).random((10, 100_000), np.float32)
    with pytest.raises(OSError) as error:
        checkpoints.save(2, {f"w{i}": jnp.asarray(row) for i, row in enumerate(noise)}, {})
    assert_says_disk_is_full(str(error.value), checkpoints, 1)
    assert_same(checkpoints.latest({"w": jnp.zeros(1000)}).state, {"w": jnp.arange(1000.0)})
    assert {entry.name for entry in checkpoints.folder.iterdir()} == {"1"}  # nothing occupies the space
    checkpoints.save(3, {"w": jnp.zeros(1000)}, {})
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records if record.levelname != "INFO"] == []


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), ValueError("RESOURCE_EXHAUSTED: No space left on device [28]")],
)
def test_disk_that_fills_up_under_orbax_says_so(saved, monkeypatch, error):
    def save(*args, **kwargs):
        raise error

    monkeypatch.setattr(checkpoint.ocp, "save", save)
    with pytest.raises(OSError) as caught:
        saved.save(3, search_state(), {})
    assert_says_disk_is_full(str(caught.value), saved, 2)


def test_other_errors_of_a_save_are_not_swallowed(saved, monkeypatch):
    with pytest.raises(TypeError):
        saved.save(3, search_state(), {"f": search_state})
    with pytest.raises(TypeError):
        saved.save(3, {"key": jax.random.key(0)}, {})
    monkeypatch.setattr(checkpoint, "write_sums", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saved.save(3, search_state(), {})
    assert {entry.name for entry in saved.folder.iterdir()} == {"1", "2"}


# Devices


TWO_DEVICES = """
import sys
import jax, jax.numpy as jnp, numpy as np
from absl import app
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from dsrna_jax.runtime.checkpoint import Checkpoints, restore_for_eval

def main(argv):
    assert jax.device_count() == 2
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    replicated, split = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    wanted = {name: jax.ShapeDtypeStruct((4, 3), jnp.float32, sharding=sharding)
              for name, sharding in (("weights", replicated), ("trace", split))}
    checkpoints = Checkpoints(argv[1])
    step, state, metadata, skipped = checkpoints.latest(wanted)
    assert (step, metadata, skipped) == (1, {"devices": 1}, [])
    for name in wanted:
        assert state[name].sharding == wanted[name].sharding
        assert np.array_equal(state[name], np.arange(12.0).reshape(4, 3))
    checkpoints.save(2, jax.tree.map(lambda x: x + 1, state), {"devices": 2})
    restore_for_eval(argv[1])

app.run(main)
"""


def test_saved_on_one_or_two_devices_restored_on_two_or_one_in_silence(tmp_path):
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    array = np.arange(12.0, dtype=np.float32).reshape(4, 3)
    state = jax.device_put({"weights": array, "trace": array}, one)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state, {"devices": 1})
    two = run(TWO_DEVICES, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert (two.returncode, two.stdout, two.stderr) == (0, "", "")
    step, restored, metadata, _ = checkpoints.latest(state)
    assert (step, metadata) == (2, {"devices": 2})
    assert_same(restored, jax.tree.map(lambda x: x + 1, state))
    assert all(leaf.sharding == one for leaf in jax.tree.leaves(restored))


# Evaluation


def test_evaluation_needs_only_a_path_and_gets_no_optimizer(saved):
    run_folder = saved.folder.parent
    for path in (run_folder, saved.folder, saved.folder / "2", str(run_folder)):
        step, metadata, variables = restore_for_eval(path)
        assert (step, metadata) == checkpoint.metadata(path) == (2, METADATA | {"seed": 2})
        assert set(variables) == {"weights", "batch_stats", "alphas"}
        assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(variables))
        np.testing.assert_array_equal(variables["alphas"]["normal"], search_state(2).alphas["normal"])
    assert restore_for_eval(saved.folder / "1").step == 1


def test_evaluation_takes_a_copy_under_another_name(saved):
    (saved.folder / "1").rename(saved.folder.parent / "best")
    assert restore_for_eval(saved.folder.parent / "best").step == 1


def test_state_without_alphas_has_none(tmp_path):
    Checkpoints(tmp_path).save(4, {"weights": {"w": jnp.ones(2)}, "optimizer": jnp.ones(2)}, {})
    assert set(restore_for_eval(tmp_path).variables) == {"weights"}


def test_evaluation_of_what_is_no_usable_checkpoint_says_why(saved, tmp_path):
    with pytest.raises(InputError, match="no checkpoint in .*nowhere: expected a run folder, its checkpoints"):
        restore_for_eval(tmp_path / "nowhere")
    (saved.folder / "2" / "_CHECKPOINT_METADATA").write_text("")
    with pytest.raises(InputError, match="2 is damaged: _CHECKPOINT_METADATA .* name the folder of another.*1"):
        restore_for_eval(tmp_path)
    assert restore_for_eval(saved.folder / "1").step == 1
    Checkpoints(tmp_path / "other").save(1, {"params": jnp.ones(2)}, {})
    with pytest.raises(InputError, match="holds params: expected weights among them"):
        restore_for_eval(tmp_path / "other")
