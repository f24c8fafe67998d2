"""A search ends the same however often it is stopped, and what it leaves behind is enough to go on or to evaluate."""

import dataclasses
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dsrna_jax import genotypes
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.data import load, statistics
from dsrna_jax.data.batches import RepeatedTail
from dsrna_jax.errors import InputError
from dsrna_jax.networks import spaces
from dsrna_jax.runtime import compilation, machine, memory, records, sharding
from dsrna_jax.runtime.checkpoint import Checkpoints, restore_for_eval
from dsrna_jax.runtime.device_data import on_devices
from dsrna_jax.runtime.run_folder import configuration
from dsrna_jax.runtime.signals import Stopped, stop_requests
from dsrna_jax.runtime.streams import step_key
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.folder import SearchFolder
from dsrna_jax.search.programs import arguments, search_programs
from dsrna_jax.search.run import SearchLoop, run
from dsrna_jax.search.setup import search_setup

SMOKE = PRESETS["smoke"]


def go_on(path, **options):
    """Resumes the run in `path`; what it said."""
    said = io.StringIO()
    run(SMOKE, path, resume=True, devices=1, file=said, **options)
    return said.getvalue()


def assert_same_end(path, unbroken):
    for name in ("metrics.jsonl", "alphas.jsonl", "genotype.json", "config.json"):
        assert (path / name).read_bytes() == (unbroken / name).read_bytes(), name
    ends = [restore_arrays(folder) for folder in (path, unbroken)]
    assert ends[0].keys() == ends[1].keys()
    for name, array in ends[0].items():
        assert array.tobytes() == ends[1][name].tobytes(), name


def restore_arrays(path, folder="checkpoints"):
    """All arrays of the newest checkpoint, optimisers' too."""
    from orbax.checkpoint import v1 as ocp

    newest = path / folder / str(Checkpoints(path / folder).steps[-1])
    leaves, _ = jax.tree_util.tree_flatten_with_path(ocp.load(newest))
    return {jax.tree_util.keystr(where): np.asarray(leaf) for where, leaf in leaves}


def at_step(monkeypatch, step, action, kind=SearchLoop):
    """Lets `action(loop)` happen just before step number `step` (from 0) is taken by a loop of that kind."""
    take_step = kind.take_step

    def with_action(loop):
        if loop.step == step:
            action(loop)
        return take_step(loop)

    monkeypatch.setattr(kind, "take_step", with_action)


def test_one_row_an_epoch_and_no_clock_in_it(smoke_run):
    rows = records.rows(smoke_run[0] / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 5), (2, 10), (3, 15)]
    assert all(np.isfinite([row["train_loss"], row["val_loss"], row["weight_gradient"]]).all() for row in rows)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.1, 0.075, 0.025])
    assert [row["robustness"] is None for row in rows] == [True, False, False]
    assert all(row["gamma_times_robustness"] == SMOKE.gamma * row["robustness"] < 0 for row in rows[1:])


def test_alphas_rest_in_warm_up_and_move_after(smoke_run):
    rows = records.rows(smoke_run[0] / "alphas.jsonl")
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[0]["alphas"] == rows[1]["alphas"]
    for name, before in rows[1]["alphas"].items():
        assert np.any(np.array(before) != rows[2]["alphas"][name]), name


def test_run_folder_holds_the_last_genotype_and_pictures(smoke_run):
    path, said = smoke_run
    found = genotypes.load(path / "genotype.json")
    assert found == genotypes.load(path / "genotypes" / "epoch_003.json")
    last = records.rows(path / "alphas.jsonl")[-1]["alphas"]
    assert found == genotypes.derive({name: np.array(logits) for name, logits in last.items()})
    assert all((path / name).read_bytes()[:4] == b"\x89PNG" for name in ("cells.png", "alphas.png", "curves.png"))
    assert "epoch 3/3  100 %" in said and "skips" in said.splitlines()[-1]


def test_checkpoint_is_enough_to_evaluate(smoke_run):
    """The supernet, built from the metadata alone, has the recorded accuracy on search_val."""
    restored = restore_for_eval(smoke_run[0])
    config, data = SearchConfig(**restored.metadata["config"]), restored.metadata["data"]
    sizes = {"cells": config.cells, "channels": config.channels, "classes": len(data["class_names"])}
    normalisation = {"mean": tuple(data["mean"]), "std": tuple(data["std"])}
    supernet = spaces.supernet(config.space, nodes=config.nodes, **sizes, **normalisation)
    images = load("digits", "train")
    half = search_setup(config).parts["search_val"]
    variables = {"params": restored.variables["weights"], "batch_stats": restored.variables["batch_stats"]}
    mixtures = spaces.mixtures(restored.variables["alphas"], config.nodes)
    logits = jax.jit(supernet.apply)(variables, jnp.float32(images.images[half]) / 255, mixtures)
    accuracy = np.mean(np.argmax(logits, axis=1) == images.labels[half])
    recorded = records.rows(smoke_run[0] / "metrics.jsonl")[-1]["val_accuracy"]
    assert accuracy == pytest.approx(recorded, abs=2 / len(half))
    assert genotypes.from_json(restored.metadata["genotype"]) == genotypes.load(smoke_run[0] / "genotype.json")


@pytest.mark.parametrize(
    ("number", "step", "saved"), [(signal.SIGTERM, 7, 8), (signal.SIGINT, 9, 10)], ids=["mid-epoch", "end of epoch"]
)
def test_stopped_and_resumed_equals_unbroken(monkeypatch, tmp_path, smoke_run, number, step, saved):
    message = f"{number.name} after step {saved} of 15"
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=message) as stop:
        at_step(patch, step, lambda _: os.kill(os.getpid(), number))
        run(SMOKE, tmp_path, devices=1, file=io.StringIO())
    assert stop.value.number == number
    assert Checkpoints(tmp_path / "checkpoints").steps[-1] == saved
    assert f"resuming after step {saved} of 15" in go_on(tmp_path)
    assert_same_end(tmp_path, smoke_run[0])


def test_a_reader_that_goes_away_stops_the_run_after_a_step_that_is_saved(monkeypatch, tmp_path, smoke_run):
    class Pipe(io.StringIO):
        is_open = True

        def write(self, text):
            if not self.is_open:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            return super().write(text)

    pipe = Pipe()
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGPIPE after step 10 of 15"):
        at_step(patch, 6, lambda _: setattr(pipe, "is_open", False))
        run(SMOKE, tmp_path, devices=1, file=pipe)
    assert "resuming after step 10 of 15" in go_on(tmp_path)
    assert_same_end(tmp_path, smoke_run[0])


def test_a_request_is_heard_while_a_program_compiles(monkeypatch, tmp_path, smoke_run):
    """The alpha step is needed after the warm-up: what was done until then is saved."""

    def request(loop):
        loop.programs = loop.programs._replace(alpha_step=Future())  # never compiled
        os.kill(os.getpid(), signal.SIGHUP)

    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGHUP after step 5 of 15"):
        at_step(patch, 4, request)
        run(SMOKE, tmp_path, devices=1, file=io.StringIO())
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="SIGTERM after step 5 of 15"):
        patch.setattr(SearchLoop, "_wait_unless", waited_for(SearchLoop._wait_unless))
        run(SMOKE, tmp_path, resume=True, devices=1, file=io.StringIO())
    assert "resuming after step 5 of 15" in go_on(tmp_path)
    assert_same_end(tmp_path, smoke_run[0])


def waited_for(wait_unless):
    """`RunLoop._wait_unless` that waits in vain for the alpha step, until a signal comes."""

    def waiting(loop, requests):
        loop.programs = loop.programs._replace(alpha_step=Future())
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        wait_unless(loop, requests)

    return waiting


@pytest.mark.slow
def test_the_radius_goes_on_where_it_stopped(monkeypatch, tmp_path):
    """The controller's state is in the checkpoint; its radius is recorded and shown."""
    config = dataclasses.replace(SMOKE, metric="certified", radius=0.3)
    run(config, tmp_path / "unbroken", devices=1, file=io.StringIO())
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        at_step(patch, 7, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        run(config, tmp_path / "stopped", devices=1, file=io.StringIO())
    said = io.StringIO()
    run(config, tmp_path / "stopped", resume=True, devices=1, file=said)
    assert_same_end(tmp_path / "stopped", tmp_path / "unbroken")
    rows = records.rows(tmp_path / "unbroken" / "metrics.jsonl")
    assert rows[0]["radius"] is None and rows[2]["radius"] != rows[1]["radius"] > 0
    assert all(row["robustness"] < 0 and np.isfinite(row["alpha_gradient"]) for row in rows[1:])
    assert all(row["radius_certifying_25"] >= row["radius_certifying_50"] >= row["radius_certifying_75"] >= 0 for row in rows)
    assert "radius" in said.getvalue().splitlines()[-1]


def test_divergence_and_a_damaged_checkpoint_lose_nothing_before(monkeypatch, tmp_path, smoke_run):
    """A loss that is not finite stops the run at once; resuming skips a damaged checkpoint and says so."""

    def poison(loop):
        loop.state = loop.state.replace(weights=jax.tree.map(lambda w: w * jnp.nan, loop.state.weights))

    with monkeypatch.context() as patch, pytest.raises(FloatingPointError, match="loss is nan at step 12") as error:
        at_step(patch, 11, poison)
        run(SMOKE, tmp_path, devices=1, file=io.StringIO())
    assert "the last good checkpoint is step 10" in str(error.value) and "\n" not in str(error.value)
    newest = max((tmp_path / "checkpoints" / "10").rglob("*"), key=lambda file: file.stat().st_size)
    newest.write_bytes(newest.read_bytes()[:100])
    said = go_on(tmp_path)
    assert "skipped the checkpoint of step 10" in said and "resuming after step 5" in said
    assert_same_end(tmp_path, smoke_run[0])


def test_full_disk_keeps_the_checkpoint_before(monkeypatch, tmp_path):
    from dsrna_jax.runtime import checkpoint

    def no_space(folder, size):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk is full.*step 5, is untouched"):
        at_step(patch, 6, lambda _: patch.setattr(checkpoint, "_claim_space", no_space))
        run(SMOKE, tmp_path, devices=1, file=io.StringIO())
    assert Checkpoints(tmp_path / "checkpoints").steps == [5]


DATA = {"examples": 1437, "image_shape": [8, 8, 1], "class_names": list("0123456789"), "mean": [0.3], "std": [0.4]}
RESOLVED = {"experiment": "search", "config": dataclasses.asdict(SMOKE), "data": DATA}


def taken(tmp_path) -> SearchFolder:
    folder = SearchFolder(tmp_path / "run")
    folder.claim(RESOLVED)
    folder.metrics.write({"epoch": 1, "step": 5})
    return folder


def test_folder_of_a_run_is_not_overwritten(tmp_path):
    with pytest.raises(InputError, match="already holds a run: give --resume"):
        taken(tmp_path).check(resume=False)


def test_folder_without_a_run_is_not_resumed(tmp_path):
    with pytest.raises(InputError, match="no run to resume"):
        SearchFolder(tmp_path).check(resume=True)


def test_another_configuration_is_not_resumed_but_shown(tmp_path):
    other = RESOLVED | {"config": RESOLVED["config"] | {"gamma": 0.5, "seed": 3}, "data": DATA | {"mean": [0.4]}}
    with pytest.raises(InputError) as error:
        taken(tmp_path).claim(other)
    for part in ("gamma: 0.01 -> 0.5", "seed: 0 -> 3", "data mean: [0.3] -> [0.4]"):
        assert part in str(error.value)


def test_a_run_resumes_with_its_data_in_another_folder(tmp_path):
    taken(tmp_path).claim(RESOLVED | {"config": RESOLVED["config"] | {"data_dir": "/elsewhere"}})


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_damaged_config_is_named(tmp_path, text):
    folder = taken(tmp_path)
    (folder.path / "config.json").write_text(text)
    with pytest.raises(InputError, match="config.json"):
        folder.check(resume=True)


def resumed_after(path, change):
    """The output of resuming by the configuration in `path`, or the error, after `change` of the run there."""
    change(path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    said = io.StringIO()
    try:
        run(configuration(path, SearchConfig), path, resume=True, devices=1, file=said)
    except InputError as error:
        assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
        assert "\n" not in str(error)
        return str(error)
    return said.getvalue()


def without(name, share):
    """Leaves a share of a file's bytes."""

    def change(path):
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole[: int(share * len(whole))])

    return change


def with_text(name, old, new):
    def change(path):
        whole = (path / name).read_text()
        assert old in whole
        (path / name).write_text(whole.replace(old, new, 1))

    return change


def renamed_checkpoint(path):
    (path / "checkpoints" / "15").rename(path / "checkpoints" / "60")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without("metrics.jsonl", 0), "no checkpoint in .* can be used .*metrics.jsonl does not hold the rows recorded"),
        (without("metrics.jsonl", 0.5), "WARN: skipped .* of step 15: metrics.jsonl .*\n.*\n.*resuming after step 5 of 15"),
        (without("alphas.jsonl", 0.99), "WARN: skipped .* of step 15: alphas.jsonl .*\n.*resuming after step 10 of 15"),
        (with_text("metrics.jsonl", '"train_loss": 2', '"train_loss": 1'), "no checkpoint in .* can be used"),
        (with_text("metrics.jsonl", '"step": 5', '"step": "5"'), "line 1 of .*metrics.jsonl is damaged"),
        (with_text("config.json", '"gamma": 0.01', '"gamma": 0.02'), "gamma: 0.01 -> 0.02"),
        (with_text("config.json", '"examples": 1437', '"examples": 1436'), "data examples: 1436 -> 1437"),
        (renamed_checkpoint, "WARN: skipped the checkpoint of step 60: it is that of step 15"),
    ],
    ids=["emptied", "halved", "alphas cut", "foreign", "strange", "config", "data", "renamed"],
)
def test_records_that_do_not_fit_the_checkpoint_are_not_taken_for_whole(tmp_path, smoke_run, change, expected):
    """Records that can be computed again are, with a warning; else one line says what is wrong, and nothing has changed."""
    path = shutil.copytree(smoke_run[0], tmp_path / "run")
    said = resumed_after(path, change)
    assert re.search(expected, said), said
    if "resuming" in said:
        assert_same_end(path, smoke_run[0])


def test_the_checkpoint_of_another_run_is_refused(tmp_path, smoke_run):
    path = shutil.copytree(smoke_run[0], tmp_path / "run")
    other = Checkpoints(tmp_path / "other" / "checkpoints")
    kept = Checkpoints(path / "checkpoints").latest(jax.eval_shape(search_setup(SMOKE).functions.init, jax.random.key(0)))
    config = kept.metadata["config"] | {"seed": 1, "epochs": 12}
    other.save(60, kept.state, kept.metadata | {"config": config})
    shutil.move(other.folder / "60", path / "checkpoints")
    said = resumed_after(path, lambda path: None)
    assert "the checkpoint of step 60" in said and "epochs: 12 -> 3; seed: 1 -> 0" in said


def test_another_number_of_cores_is_said_on_resuming(tmp_path, smoke_run, monkeypatch):
    path = shutil.copytree(smoke_run[0], tmp_path / "run")
    before = json.loads((path / "config.json").read_text())["machine"]
    assert before["cores"] == machine.cores() and set(before) == {"cores", "devices", "jax"}
    assert "WARN" not in go_on(path)
    monkeypatch.setattr(machine, "cores", lambda: before["cores"] + 3)
    said = go_on(path)
    assert f"cores {before['cores']} then, {before['cores'] + 3} now" in said and "not bit for bit" in said
    assert json.loads((path / "config.json").read_text())["machine"] == before


def test_a_batch_larger_than_half_the_data_is_refused():
    with pytest.raises(InputError, match="batch_size=800: expected at most 71[0-9], half of the 1437 training images"):
        search_setup(dataclasses.replace(SMOKE, batch_size=800))


def test_an_image_too_small_for_the_reductions_is_refused():
    with pytest.raises(InputError, match="3x3 pixels: expected at least 4x4"):
        search_setup(dataclasses.replace(SMOKE, image_size=3))


def test_channel_statistics_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), dtype=np.uint8)
    images[..., 2] = 9
    mean, std = statistics.channel_statistics(images)
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std[:2], (images / 255).std(axis=(0, 1, 2))[:2], rtol=1e-12)
    assert std[2] == 1 / 255


def test_evaluation_counts_every_example_once():
    order = RepeatedTail(np.arange(23), 5)
    batches = [(order(number), order.counts(number)) for number in range(len(order))]
    assert all(len(indices) == len(counts) == 5 for indices, counts in batches)
    np.testing.assert_array_equal(np.concatenate([indices[counts] for indices, counts in batches]), np.arange(23))


def test_streams_and_steps_have_keys_of_their_own():
    keys = [step_key(jax.random.key(0), stream, step) for stream in range(3) for step in range(4)]
    assert len({jax.random.key_data(key).tobytes() for key in keys}) == 12


def test_first_request_is_noted_and_the_second_acts_as_before():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stop_requests() as requests:
            os.kill(os.getpid(), signal.SIGTERM)
            assert (requests, seen) == ([signal.SIGTERM], [])
            os.kill(os.getpid(), signal.SIGTERM)
            assert (requests, seen) == ([signal.SIGTERM], [signal.SIGTERM])
    finally:
        signal.signal(signal.SIGTERM, before)


def test_peak_memory_of_a_chain_is_that_of_three_of_its_arrays():
    """x, its sine and the sine's cosine never live all three with another: argument, one result and the next."""

    def chain(x):
        return jnp.sum(jnp.exp(jnp.cos(jnp.sin(x))))

    assert memory.peak_bytes(chain, jnp.zeros(1000)) == 3 * 4000
    assert memory.peak_bytes(jax.jit(chain), jnp.zeros(1000)) == pytest.approx(3 * 4000, abs=8)


def test_a_batch_that_does_not_divide_among_devices_is_refused():
    mesh = SimpleNamespace(size=3)
    sharding.check_divides(63, mesh)
    with pytest.raises(InputError, match="batch_size=64 does not divide among 3 devices: .* 63 or 66"):
        sharding.check_divides(64, mesh)


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(InputError, match="devices=99: expected 1 to"):
        sharding.mesh(99)


def three_steps(devices):
    """Weights, alphas and batch statistics after three steps of the preset `smoke`, alphas included."""
    setup, mesh = search_setup(SMOKE), sharding.mesh(devices)
    data, programs = on_devices(setup.data, mesh), search_programs(setup.functions, mesh)
    compiled = compilation.compiled(programs, arguments(setup, mesh), mesh, setup.identity)
    state = compilation.initial_state(setup.functions.init, 0, mesh)
    key = jax.device_put(jax.random.key(0), sharding.replicated(mesh))
    for step in range(3):
        halves = ("search_train", "search_val")
        train, val = (jax.device_put(setup.batch(half, step), sharding.split(mesh)) for half in halves)
        assert len(train.sharding.device_set) == devices
        state, _ = compiled.alpha_step.result()(state, data, train, val, key)
        state, _ = compiled.weight_step.result()(state, data, train, key)
    trees = {"weights": state.weights, "alphas": state.alphas, "batch_stats": state.batch_stats}
    return {name: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for name, tree in trees.items()}


@pytest.mark.slow
def test_two_devices_equal_one(tmp_path):
    code = "import sys, numpy, test_run; numpy.savez(sys.argv[1], **test_run.three_steps(2))"
    path = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, Path(__file__).parent.parent))
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", code, tmp_path / "two.npz"], env=os.environ | flags, check=True)
    two = np.load(tmp_path / "two.npz")
    for name, one in three_steps(1).items():
        assert np.abs(one - two[name]).max() < 2e-5 * np.abs(one).max(), name
