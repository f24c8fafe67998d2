"""The command attack: its report and arrays, resumed runs that equal unbroken ones, bad input in one line, pictures."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from linear_run import linear_network
from threads_as_processes import statuses

from dsrna_jax import data, plots, strict_json
from dsrna_jax.commands import attack
from dsrna_jax.commands.process import status
from dsrna_jax.data import Dataset
from dsrna_jax.evaluation import images as image_choice
from dsrna_jax.evaluation.attack import completed
from dsrna_jax.evaluation.attack.config import TIERS
from dsrna_jax.evaluation.folder import home
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import Checkpoints, restore_for_eval
from dsrna_jax.runtime.machine import MACHINE
from dsrna_jax.runtime.origin import ORIGIN
from dsrna_jax.runtime.processes import current
from dsrna_jax.training import restore
from dsrna_jax.training.setup import training_setup

SMALL = ("--tier=smoke", "--examples=24", "--batch_size=8", "--probe_examples=8", "--radius=0.1", "--devices=1")


def run_command(*arguments):
    return status(attack.main, ["attack", *map(str, arguments)])


def with_linear_logits(patch, run):
    """Lets every checkpoint be that of `run`, but with linear logits, which compile in no time."""
    network = restore.load(run)._replace(logits_fn=linear_network().logits_fn)
    patch.setattr(restore, "load", lambda path: network)


@pytest.fixture(scope="session")
def attacked(trained_run, tmp_path_factory):
    """The folder of a finished evaluation, never stopped, of that training with linear logits."""
    out = tmp_path_factory.mktemp("attacked") / "out"
    with pytest.MonkeyPatch.context() as patch:
        with_linear_logits(patch, trained_run)
        assert run_command(f"--checkpoint={trained_run}", f"--out={out}", *SMALL) == 0
    return out


@pytest.fixture
def linear(monkeypatch):
    """A linear network in every checkpoint, which compiles in no time; another one in those called "other"."""
    monkeypatch.setattr(restore, "load", lambda path: linear_network(1.01 if Path(path).name == "other" else 1.0))


def test_report_and_arrays_agree_with_each_other(trained_run, attacked):
    report, flags = json.loads((attacked / "attack.json").read_text()), np.load(attacked / "flags.npz")
    network = restore.load(trained_run)
    assert report["experiment"] == "attack" and report["examples"] == 24 and report["weights"] == network.weight_count
    assert report["checkpoint"] == {"path": str(trained_run), "step": network.step, "digest": network.digest}
    assert report["config"]["radius"] == 0.1 and report["training"]["adversarial"] == "fast"
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["FGSM 0.025", "FGSM 0.1", "PGD-10", "PGD-20", "C&W-l2", "APGD-CE+Square", "worst case"]
    for name, row in {"clean": report["clean"], **rows}.items():
        assert flags[name].shape == (24,) and flags[name].mean() == row["accuracy"]
        assert 0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1
    assert all(row["budget"] and row["seconds"] >= 0 and row["norm"] and row["radius"] for row in rows.values())
    assert rows["worst case"]["seconds"] == pytest.approx(
        sum(rows[n]["seconds"] for n in ("FGSM 0.1", "PGD-10", "PGD-20", "APGD-CE+Square"))
    )
    assert (flags["worst case"] <= flags["PGD-20"]).all() and rows["worst case"]["accuracy"] < report["clean"]["accuracy"]
    assert rows["C&W-l2"]["median_distance"] > 0 and flags["C&W-l2 distance"].shape == (24,)
    assert all(check["status"] in ("PASS", "WARN") and check["says"] for check in report["checks"])
    assert report["checks"][0]["name"] == "unseen images" and report["checks"][0]["status"] == "PASS"
    for name in ("accuracy_against_radius.png", "attacked_images.png"):
        assert (attacked / name).read_bytes()[:4] == b"\x89PNG"
    strict_json.check(report, {"origin": ORIGIN, "machine": MACHINE})
    text = (attacked / "index.html").read_text()
    assert f'href="{os.path.relpath(trained_run, attacked)}/index.html">its training' in text
    assert report["origin"]["version"] in text and report["origin"]["processor"] in text and "command: <code>" in text
    last = report["curve"]["points"][-1]
    assert f"{last['accuracy']:.1%} at {last['radius']:.3g}" in text.split('alt="')[1].split('"')[0]


def test_predictions_are_those_of_the_network_on_those_images(attacked):
    flags = np.load(attacked / "flags.npz")
    test = data.load("digits", "test")
    images = np.float32(test.images[flags["index"]]) / 255
    np.testing.assert_array_equal(flags["label"], test.labels[flags["index"]])
    np.testing.assert_array_equal(flags["prediction"], np.asarray(jax.jit(linear_network().logits_fn)(images)).argmax(1))
    assert len(set(flags["index"])) == 24 and flags["clean"].mean() > 0.5


def test_fewer_examples_are_the_first_of_more(trained_run):
    network, config = restore.load(trained_run), TIERS["smoke"]
    few, more = (image_choice.evaluation_images(dataclasses.replace(config, examples=n), network).indices for n in (20, 200))
    np.testing.assert_array_equal(few, more[:20])
    every = image_choice.evaluation_images(dataclasses.replace(config, examples=0), network).indices
    assert sorted(every) == list(range(360))


def test_held_out_images_were_not_trained_on(trained_run):
    network = restore.load(trained_run)
    config = dataclasses.replace(TIERS["smoke"], split="held_out", examples=0)
    held_out = training_setup(network.config).parts["held_out"]
    assert sorted(image_choice.evaluation_images(config, network).indices) == held_out.tolist()


def without_times(out):
    """The report and the records of an attack, in an order of their own."""
    report, records_of = json.loads((out / "attack.json").read_text()), records.rows(out / "batches.jsonl")
    for row in [*report["rows"], *records_of]:
        row.pop("seconds", None)
    return report, sorted(map(json.dumps, records_of))


@pytest.fixture
def unbroken(tmp_path, linear):
    """The linear network's evaluation, never stopped, in one process: its folder."""
    assert run_command("--checkpoint=RUN", f"--out={tmp_path / 'unbroken'}", *SMALL) == 0
    return tmp_path / "unbroken"


def test_processes_share_out_an_attack_with_the_figures_of_one(monkeypatch, capsys, tmp_path, unbroken):
    out, said = tmp_path / "out", capsys.readouterr().out
    add, counts = completed.CompletedBatches.add, [0, 0]

    def add_and_stop(self, record):
        add(self, record)
        counts[current().index] += 1
        if counts[current().index] == 9 and not current().is_first:  # others' batches are recorded before
            raise OSError("the disk of this process is full")

    arguments = ("attack", "--checkpoint=RUN", f"--out={out}", *SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(completed.CompletedBatches, "add", add_and_stop)
        assert statuses(patch, 2, attack.main, *arguments) == [1, 1]
    err = capsys.readouterr().err
    assert err == "error: process 1 of 2 on host: the disk of this process is full\n" and not (out / "attack.json").exists()
    assert 0 < len(records.rows(out / "batches.jsonl")) < len(records.rows(unbroken / "batches.jsonl"))
    assert statuses(monkeypatch, 3, attack.main, *arguments, "--resume") == [0, 0, 0]
    assert (out / "flags.npz").read_bytes() == (unbroken / "flags.npz").read_bytes()
    assert without_times(out) == without_times(unbroken)
    together = capsys.readouterr().out
    assert together.count("clean: ") == 1 and "1 cpu device in each of 3 processes" in together
    assert together.splitlines()[-5:-2] == said.splitlines()[-5:-2]


def test_processes_that_attack_other_networks_are_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(restore, "load", lambda path: linear_network(1.0 + current().index))
    assert statuses(monkeypatch, 2, attack.main, "attack", "--checkpoint=RUN", f"--out={tmp_path / 'out'}", *SMALL) == [1, 1]
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "process 1 has another network or images than process 0 (checkpoint: " in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_the_checkpoint_of_a_training_that_was_stopped_says_so(capsys, tmp_path, linear, is_stopped):
    run, epochs = tmp_path / "run", linear_network(1.0).config.epochs
    run.mkdir()
    (run / "config.json").touch()
    (run / "metrics.jsonl").write_text('{"epoch": 2}\n')
    if not is_stopped:
        (run / "result.json").touch()
    assert run_command(f"--checkpoint={run}", f"--out={tmp_path / 'out'}", *SMALL, "--examples=16") == 0
    said = f"WARN: this training was stopped after epoch 2 of {epochs}: the checkpoint is of step "
    assert (said in capsys.readouterr().out) == is_stopped


def test_processes_without_work_are_named(monkeypatch, capsys, tmp_path, linear):
    arguments = ("attack", "--checkpoint=RUN", f"--out={tmp_path / 'out'}", *SMALL, "--examples=16")
    assert statuses(monkeypatch, 3, attack.main, *arguments) == [0, 0, 0]
    assert "WARN: 2 of 3 processes have work: give a batch_size of 5 or less, or more images" in capsys.readouterr().out


def test_a_resumed_evaluation_equals_an_unbroken_one(monkeypatch, capsys, tmp_path, unbroken):
    add, count, after = completed.CompletedBatches.add, iter(range(1000)), 13  # in the middle of C&W

    def add_and_stop(self, record):
        add(self, record)
        if next(count) == after:
            os.kill(os.getpid(), signal.SIGTERM)

    out = tmp_path / "out"
    arguments = ("--checkpoint=RUN", f"--out={out}", *SMALL)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(completed.CompletedBatches, "add", add_and_stop)
        assert run_command(*arguments) == 128 + signal.SIGTERM
    assert "every batch so far is kept" in capsys.readouterr().err
    batches = out / "batches.jsonl"
    done = batches.read_bytes()
    assert done.count(b"\n") == after + 1 and not (out / "attack.json").exists()
    batches.write_bytes(done + b'{"row": "PGD-')  # killed while it wrote
    assert run_command(*arguments, "--resume") == 0
    assert batches.read_bytes().startswith(done)
    assert (out / "flags.npz").read_bytes() == (unbroken / "flags.npz").read_bytes()
    assert without_times(out) == without_times(unbroken)


def test_resuming_a_finished_evaluation_runs_no_batch(monkeypatch, capsys, trained_run, attacked):
    before = (attacked / "flags.npz").read_bytes()
    with_linear_logits(monkeypatch, trained_run)
    monkeypatch.setattr(completed.CompletedBatches, "add", lambda self, record: pytest.fail("ran again"))
    assert run_command(f"--checkpoint={trained_run}", f"--out={attacked}", *SMALL, "--resume") == 0
    assert (attacked / "flags.npz").read_bytes() == before
    out = capsys.readouterr().out
    assert "APGD-CE+Square" in out and "worst case" in out and "PASS  unseen images" in out
    assert f"next: dsrna_jax certify --checkpoint={trained_run}" in out


def test_dry_run_prints_attacks_and_budgets_and_writes_nothing(trained_run, tmp_path, capsys):
    assert run_command(f"--checkpoint={trained_run}", f"--out={tmp_path / 'out'}", "--dry_run") == 0
    out = capsys.readouterr().out
    assert "9 searches of c from 0.01, 60 steps of Adam each at rate 0.01, kappa 0" in out
    assert "APGD-T by dlr 100 x 9 targets" in out and "360 images" in out and "8/255" in out
    assert not (tmp_path / "out").exists()


def test_a_surrogate_adds_the_transfer_check(linear, tmp_path):
    assert run_command("--checkpoint=RUN", f"--out={tmp_path}/out", f"--surrogate={tmp_path}/other", *SMALL) == 0
    report = json.loads((tmp_path / "out" / "attack.json").read_text())
    assert [check["name"] for check in report["checks"]].count("transfer") == 1


def test_help_lists_every_setting(capsys):
    assert run_command("--help") == 0
    out = capsys.readouterr().out
    assert all(f"--{field.name}" in out.replace("[no]", "") for field in dataclasses.fields(TIERS["paper"]))
    assert "--resume" in out.replace("[no]", "") and "dsrna_jax attack --checkpoint=RUN" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected --checkpoint=RUN"),
        (["--checkpoint={0}/none"], "no checkpoint in"),
        (["--checkpoint={1}", "--split=validation"], "expected split train or test, got 'validation'"),
        (["--checkpoint={1}", "--radius=8"], "radius=8.0: expected at most 1"),
        (["--checkpoint={1}", "--norm=l1"], "--norm"),
        (["--checkpoint={1}", "--surrogate={1}", *SMALL], "is the attacked network itself"),
        (["--checkpoint={1}", "--surrogate={0}/none", *SMALL], "no checkpoint in"),
        (["--checkpoint={1}", "--out={0}/none", "--resume"], "no evaluation to resume in"),
        (["--checkpoint={1}", "--out={2}", *SMALL], "already holds an evaluation: give --resume"),
        (["--checkpoint={1}", "--out={2}", "--resume", *SMALL, "--radius=0.2"], "other settings (radius: 0.1 -> 0.2)"),
        (["--checkpoint={1}", "--out={2}", "--resume", *SMALL, "--tier=standard"], "tier: 'smoke' -> 'standard'"),
    ],
    ids=range(11),
)
def test_bad_input_ends_in_one_line(tmp_path, trained_run, attacked, capsys, arguments, expected):
    assert run_command(*[argument.format(tmp_path, trained_run, attacked) for argument in arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert expected in err
    assert not any(tmp_path.iterdir())


def test_checkpoints_that_do_not_fit_are_refused(trained_run, tmp_path, capsys):
    step, metadata, variables = restore_for_eval(trained_run / "best")
    strange = {
        "holds the checkpoint of a search, expected that of a training": {**metadata, "experiment": "search"},
        "does not hold the network that it describes": {**metadata, "config": {**metadata["config"], "channels": 6}},
        "was written by another version": {**metadata, "config": {**metadata["config"], "shape": "round"}},
    }
    for number, (expected, described) in enumerate(strange.items()):
        Checkpoints(tmp_path / f"{number}").save(step, variables, described)
        assert run_command(f"--checkpoint={tmp_path / str(number)}", f"--out={tmp_path / 'out'}", *SMALL) == 1
        out, err = capsys.readouterr()
        assert out == "" and expected in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


def test_the_default_folder_is_never_inside_a_checkpoint(trained_run, tmp_path):
    step = next((trained_run / "best").glob("[0-9]*"))
    for checkpoint in (trained_run, trained_run / "best", step):
        assert home(checkpoint, "attack_smoke_linf") == trained_run / "attack_smoke_linf"
    assert home(tmp_path / "copy", "attack_smoke_linf") == tmp_path / "copy_attack_smoke_linf"


def test_an_evaluation_of_another_checkpoint_is_not_resumed(trained_run, attacked, capsys):
    newest = trained_run / "checkpoints"
    same = restore.load(newest).digest == restore.load(trained_run).digest
    assert run_command(f"--checkpoint={newest}", f"--out={attacked}", *SMALL, "--resume") == (0 if same else 1)
    assert same or "checkpoint digest: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "shape", "classes", "expected"),
    [
        (5, (9, 8, 1), "0123456789", "other images than those that the network was trained on: expected 8x8x1, got 9x8x1"),
        (5, (8, 8, 1), "01", "other classes than those that the network was trained on: expected 10 classes, got 2 classes"),
        (5, (8, 8, 1), "abcdefghij", "got 10 classes of other names"),
        (0, (8, 8, 1), "0123456789", "split=test of digits holds no image: expected a split with images"),
    ],
)
def test_images_that_do_not_fit_are_refused(monkeypatch, capsys, tmp_path, trained_run, count, shape, classes, expected):
    images, labels = np.zeros((count, *shape), np.uint8), np.zeros(count, np.int32)
    monkeypatch.setattr(image_choice, "images_of", lambda *_: Dataset("digits", images, labels, tuple(classes)))
    assert run_command(f"--checkpoint={trained_run}", f"--out={tmp_path / 'out'}", *SMALL) == 1
    out, err = capsys.readouterr()
    assert out == "" and expected in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


# ---- pictures


def test_the_sheet_shows_clean_and_attacked_images_and_their_difference():
    images = np.random.default_rng(0).random((3, 8, 8, 3))
    x_adv = np.clip(images + 0.1, 0, 1)
    figure = plots.attacked_images(images, x_adv, ["cat", "dog", "a very long class name"], ["dog", "dog", "cat"], title="t")
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_allclose(shown[0], images[0])
    np.testing.assert_allclose(shown[3], x_adv[0])
    factor = 0.5 / np.abs(x_adv - images).max()
    np.testing.assert_allclose(shown[6], 0.5 + factor * (x_adv - images)[0], atol=1e-9)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["cat", "dog", "a very long \u2026", "dog", "dog", "cat", "", "", ""]
    colours = [axes.title.get_color() for axes in figure.axes[3:6]]
    assert colours[0] == colours[2] != colours[1]


def test_the_curve_begins_at_radius_zero(attacked, tmp_path):
    report = json.loads((attacked / "attack.json").read_text())
    figure = plots.accuracy_against_radius(report, {}, tmp_path / "a.png", title="t")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    for name in ("FGSM", "PGD-20"):
        assert lines[name].get_xdata()[0] == 0 and np.all(np.diff(lines[name].get_xdata()) > 0)
    points = [p["accuracy"] for p in report["curve"]["points"] if p["name"] == "PGD-20"]
    np.testing.assert_allclose(lines["PGD-20"].get_ydata()[1:], 100 * np.array(points))
    report["config"]["norm"] = "l2"
    figure = plots.accuracy_against_radius(report, {"C&W-l2": np.array([0, 0.1, 0.2, np.inf])}, title="t")
    curve = {line.get_label(): line for line in figure.axes[0].lines}["C&W-l2"].get_ydata()
    assert curve[0] == 75 and curve[-1] == 25
