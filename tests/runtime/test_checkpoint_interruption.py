"""Killed while it saves, on a full disk, or on other devices: the checkpoint before is there, and whole."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_states import assert_same, search_state

from dsrna_jax.runtime import checkpoint
from dsrna_jax.runtime.checkpoint import Checkpoints

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
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"} | env
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
