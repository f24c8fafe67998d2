"""A run goes on from a folder that is its own and whole, and from no other."""

import dataclasses
import io
import json
import re
import shutil

import jax
import pytest
import tiny_run
from smoke_run import SMOKE, assert_same_end, at_step, restore_arrays

from dsrna_jax.errors import InputError
from dsrna_jax.runtime import checkpoint, loop, machine
from dsrna_jax.runtime.checkpoint import Checkpoints
from dsrna_jax.runtime.run_folder import configuration
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.folder import SearchFolder
from dsrna_jax.search.run import run
from dsrna_jax.search.setup import search_setup
from dsrna_jax.training.folder import TrainingFolder

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


def test_the_commands_of_a_page_quote_its_folder():
    assert SearchFolder("my run").resume_command().endswith(" '--run_dir=my run' --resume")
    assert [command.split(" ", 2)[2] for command in TrainingFolder("my run").next_commands] == ["'--checkpoint=my run'"] * 2


@pytest.mark.parametrize("name", ["settings.json", "batches.jsonl"])
def test_folder_of_an_evaluation_does_not_become_that_of_a_run(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=f"holds {name} of an evaluation, .* give another --run_dir"):
        SearchFolder(tmp_path).check(resume=False)
    SearchFolder(tmp_path / "run").check(resume=False)


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


def test_a_run_is_not_resumed_with_its_data_in_another_order(tmp_path, monkeypatch):
    """Their number and statistics are the same, but other images would be held out."""
    with pytest.raises(OSError), monkeypatch.context() as patch:
        patch.setenv("FAULT", "fail:20")
        tiny_run.run(tiny_run.TinyConfig(), tmp_path / "run", devices=1, file=io.StringIO())
    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match="digits has other labels than when step 15 .* was saved"),
    ):
        patch.setenv("FAULT", "data")
        tiny_run.run(tiny_run.TinyConfig(), tmp_path / "run", resume=True, devices=1, file=io.StringIO())
    assert tiny_run.run(tiny_run.TinyConfig(), tmp_path / "run", resume=True, devices=1, file=io.StringIO()).step == 45


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
        pytest.param(
            without("alphas.jsonl", 0.99),
            "WARN: skipped .* of step 15: alphas.jsonl .*\n.*resuming after step 10 of 15",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            with_text("metrics.jsonl", '"train_loss": 2', '"train_loss": 1'),
            "no checkpoint in .* can be used",
            marks=pytest.mark.slow,
        ),
        (with_text("metrics.jsonl", '"step": 5', '"step": "5"'), "line 1 of .*metrics.jsonl is damaged"),
        pytest.param(
            with_text("config.json", '"warmup_epochs": 1', '"warmup_epochs": 2'), "warmup_epochs: 1 -> 2", marks=pytest.mark.slow
        ),
        (with_text("config.json", '"examples": 1437', '"examples": 1436'), "data examples: 1436 -> 1437"),
        pytest.param(
            renamed_checkpoint, "WARN: skipped the checkpoint of step 60: it is that of step 15", marks=pytest.mark.slow
        ),
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


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a tiny run, never interrupted."""
    path = tmp_path_factory.mktemp("tiny") / "run"
    tiny_run.run(tiny_run.TinyConfig(), path, file=io.StringIO())
    assert Checkpoints(path / "checkpoints").steps == [15, 30, 45]
    return path


def go_on(path):
    """Resumes the tiny run in `path`; what it said."""
    said = io.StringIO()
    tiny_run.run(tiny_run.TinyConfig(), path, resume=True, file=said)
    return said.getvalue()


def interrupted(monkeypatch, path, step, action, error, match):
    """A tiny run in `path` that ends with an error after `action(loop)`, just before step number `step` is taken."""
    with monkeypatch.context() as patch, pytest.raises(error, match=match) as raised:
        at_step(patch, step, action, tiny_run.TinyLoop)
        tiny_run.run(tiny_run.TinyConfig(), path, file=io.StringIO())
    assert "\n" not in str(raised.value)


def assert_ends_as(unbroken, path):
    assert (path / "metrics.jsonl").read_bytes() == (unbroken / "metrics.jsonl").read_bytes()
    arrays, expected = restore_arrays(path), restore_arrays(unbroken)
    assert {name: array.tobytes() for name, array in arrays.items()} == {n: a.tobytes() for n, a in expected.items()}
    assert Checkpoints(path / "checkpoints").steps[-1] == 45


def test_another_number_of_cores_is_said_on_resuming(tmp_path, unbroken, monkeypatch):
    path = shutil.copytree(unbroken, tmp_path / "run")
    before = json.loads((path / "config.json").read_text())["machine"]
    assert before["cores"] == machine.cores() and set(before) == {"cores", "devices", "jax"}
    assert "WARN" not in go_on(path)
    monkeypatch.setattr(machine, "cores", lambda: before["cores"] + 3)
    said = go_on(path)
    assert f"cores {before['cores']} then, {before['cores'] + 3} now" in said and "not bit for bit" in said
    assert json.loads((path / "config.json").read_text())["machine"] == before


def test_what_is_killed_inside_a_long_epoch_goes_on_from_a_step_inside_it(tmp_path, unbroken, monkeypatch):
    """Such a checkpoint takes the place of none that ends an epoch, and is gone when there is a later one."""

    def killed(_):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_SAVED_EVERY", 0.0)
        interrupted(patch, tmp_path, 33, killed, OSError, "killed")
    assert Checkpoints(tmp_path / "checkpoints").steps == [15, 30, 33]
    assert "resuming after step 33 of 45" in go_on(tmp_path)
    assert Checkpoints(tmp_path / "checkpoints").steps == [15, 30, 45]
    assert_ends_as(unbroken, tmp_path)


def test_divergence_and_a_damaged_checkpoint_lose_nothing_before(tmp_path, unbroken, monkeypatch):
    """A loss that is not finite stops the run at once; resuming skips a damaged checkpoint and says so."""

    def poison(loop):
        loop.state = loop.state | {"weights": loop.state["weights"] * float("nan")}

    message = "loss is nan at step 36 .*the last good checkpoint is step 30"
    interrupted(monkeypatch, tmp_path, 35, poison, FloatingPointError, message)
    files = [file for file in (tmp_path / "checkpoints" / "30").rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    said = go_on(tmp_path)
    assert "skipped the checkpoint of step 30" in said and "resuming after step 15" in said
    assert_ends_as(unbroken, tmp_path)


def test_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    def no_space(folder, size):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        fill = lambda _: patch.setattr(checkpoint, "claim_space", no_space)  # noqa: E731
        interrupted(patch, tmp_path, 16, fill, OSError, "disk is full.*step 15, is untouched")
    assert Checkpoints(tmp_path / "checkpoints").steps == [15]
