"""The command certify: its report, bad input in one line, and resumed runs that equal unbroken ones."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from linear_run import STATISTICS, TINY, exact_radii, linear_network
from scipy import stats
from threads_as_processes import statuses

from dsrna_jax import genotypes, plots, strict_json
from dsrna_jax.bounds.explanation import memory_of_device
from dsrna_jax.commands import certify
from dsrna_jax.commands.process import status
from dsrna_jax.comparison import card, runs
from dsrna_jax.evaluation.certify import report as certification_report
from dsrna_jax.evaluation.certify import run as certification_run
from dsrna_jax.evaluation.certify.exact_radii import Radii
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.runtime import sharding
from dsrna_jax.runtime.checkpoint import Checkpoints
from dsrna_jax.runtime.machine import MACHINE
from dsrna_jax.runtime.origin import ORIGIN
from dsrna_jax.training import restore

ROOT = Path(__file__).parents[2]
SMALL = ("--examples=24", "--batch_size=10", "--method=crown_ibp", "--attack_steps=20")


def run_command(*arguments):
    return status(certify.main, ["certify", "--checkpoint=RUN", *map(str, arguments)])


@pytest.fixture
def linear(monkeypatch):
    monkeypatch.setattr(restore, "load", lambda path: linear_network())


def read_arrays(out):
    with np.load(out / "radii.npz") as file:
        return dict(file)


def test_report_and_arrays_have_the_exact_radii_of_a_linear_network(linear, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_command(f"--out={out}", "--noclip", *SMALL) == 0
    text = capsys.readouterr().out
    assert "PASS  none is smaller" in text and f"{out} holds certify.json" in text and "dsrna_jax compare RUN" in text
    assert (out / "certified_accuracy.png").read_bytes().startswith(b"\x89PNG")
    report, arrays = json.loads((out / "certify.json").read_text()), read_arrays(out)
    assert report["checkpoint"] == {"path": "RUN", "step": 7, "digest": linear_network().digest}
    strict_json.check(report, {"origin": ORIGIN, "machine": MACHINE})
    assert f"{report['certified_accuracy'][1]['accuracy']:.1%} at" in (out / "index.html").read_text().split('alt="')[1]
    assert (report["experiment"], report["norm"], report["method"], report["examples"]) == ("certify", "linf", "crown_ibp", 24)
    digits = certification_images(arrays["index"])
    np.testing.assert_array_equal(digits[1], arrays["label"])
    distance = exact_radii(*digits)
    np.testing.assert_allclose(arrays["minimum"], distance, rtol=0.012, atol=1e-9)
    assert (arrays["minimum"] <= distance).all() and (distance <= arrays["attacked"] * (1 + 1e-5)).all()
    correct = arrays["prediction"] == arrays["label"]
    assert report["clean"]["accuracy"] == correct.mean() and report["clean"]["low"] < correct.mean()
    assert report["radius"]["mean"] == pytest.approx(arrays["minimum"].mean())
    assert report["radius"]["mean_correct"] == pytest.approx(arrays["minimum"][correct].mean())
    assert report["radius"]["p5"] <= report["radius"]["median"] <= report["radius"]["p95"]
    for entry in report["certified_accuracy"]:
        stands = correct & (arrays["minimum"] >= entry["radius"])
        assert entry["accuracy"] == pytest.approx(stands.mean()) and entry["low"] - 1e-12 <= stands.mean() <= entry["high"]
        assert entry["accuracy"] <= entry["attacked"]
    assert report["certified_accuracy"][0]["radius"] == 0 and report["certified_accuracy"][-1]["attacked"] == 0
    assert set(report["per_target"]) == {"random", "least_likely", "runner_up"}
    assert all(row["mean"] >= report["radius"]["mean"] * 0.99 for row in report["per_target"].values())
    assert report["gap"] == pytest.approx(np.median(arrays["attacked"][correct] / arrays["minimum"][correct]))
    assert report["refuted"] == 0


def certification_images(indices):
    from dsrna_jax.data import load

    digits = load("digits", "test")
    return digits.images[indices] / 255.0, digits.labels[indices]


def test_results_do_not_depend_on_the_batch_size(linear, tmp_path, capsys):
    for size in (24, 7):
        assert run_command(f"--out={tmp_path / str(size)}", *SMALL, f"--batch_size={size}", "--devices=1") == 0
    one, other = read_arrays(tmp_path / "24"), read_arrays(tmp_path / "7")
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-4, err_msg=name)


def test_processes_share_out_a_certification(linear, tmp_path, monkeypatch, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    assert run_command(f"--out={one}", *SMALL, "--devices=1") == 0
    said = capsys.readouterr().out.replace(str(one), str(two))
    arguments = ("certify", "--checkpoint=RUN", f"--out={two}", *SMALL, "--devices=1")
    assert statuses(monkeypatch, 2, certify.main, *arguments) == [0, 0]
    together = capsys.readouterr().out
    assert said.splitlines()[-10:] == together.splitlines()[-10:] and "1 cpu device in each of 2 processes" in together
    assert (one / "radii.npz").read_bytes() == (two / "radii.npz").read_bytes()


def test_smoothing_certifies_images_of_the_right_class(linear, tmp_path, capsys):
    out = tmp_path / "out"
    flags = ("--method=smoothing", "--norm=l2", "--sigma=0.1", "--n=500", "--n0=50", "--examples=24")
    assert run_command(f"--out={out}", *flags) == 0
    report, arrays = json.loads((out / "certify.json").read_text()), read_arrays(out)
    right = arrays["smoothed"] == arrays["label"]
    assert right.any() and (arrays["minimum"][~right] == 0).all() and (arrays["minimum"][right] > 0).all()
    assert report["attack_radius"] is None and report["per_target"] == {}
    assert report["abstained"] == (arrays["smoothed"] == -1).mean()
    assert report["certified_accuracy"][0]["accuracy"] == right.mean()
    assert "of the smoothed network" in capsys.readouterr().out


def test_upper_bounds_of_the_verifier_are_its_counterexamples(linear, tmp_path, capsys, monkeypatch):
    """No attack is named, since none runs: neither as text, nor on the page with its settings, nor in the picture."""
    told, out = [], tmp_path / "out"

    def verified(network, images, labels, **options):
        distance = exact_radii(np.asarray(images), labels)
        return Radii(0.99 * distance, 1.01 * distance)

    monkeypatch.setattr(certification_run, "verified_radii", verified)
    monkeypatch.setattr(plots, "certified_accuracy", lambda curves, path, **_: (told.extend(curves), path.touch()))
    assert run_command(f"--out={out}", "--method=verify", "--examples=24") == 0
    told += [capsys.readouterr().out.replace(str(tmp_path), ""), (out / "index.html").read_text().replace(str(tmp_path), "")]
    assert "nearest counterexample found by the verifier: mean" in told[2] and "without a counterexample" in told[3]
    assert not [text for text in told if re.search("pgd|none:|withstands|found by none", text)]


@pytest.mark.parametrize(("method", "is_told"), [("hz_crown", True), ("smoothing", False), ("verify", False)])
def test_exact_arithmetic_is_told_of_bounds_alone(method, is_told):
    """Earlier versions took the option with every method, and recorded it."""
    radius = dict.fromkeys(("mean", "median", "p5", "p95"), 0.1)
    result = {"config": {"arithmetic": "exact", "attack": "pgd"}, "method": method, "norm": "l2", "examples": 3, "radius": radius}
    clean = {"accuracy": 1.0, "low": 0.9, "high": 1.0}
    report = result | {"clean": clean, "attack_radius": None, "abstained": None, "per_target": {}}
    assert ("exact" in certification_report.lines(report)) == ("exact" in "".join(card.certified([result]))) == is_told


def test_a_checkpoint_is_certified_and_compared(trained_run, tmp_path, capsys):
    """Radii of all the classes that g names; and the comparison takes what is left in the run folder."""
    flags = (f"--checkpoint={trained_run}", "--norm=l2", "--method=smoothing", "--sigma=0.05", "--n=100", "--examples=20")
    out = tmp_path / "run" / "certify_smoothing_l2"
    assert status(certify.main, ["certify", *flags, f"--out={out}"]) == 0
    arrays, report = read_arrays(out), json.loads((out / "certify.json").read_text())
    most = 0.05 * stats.norm.ppf(0.001 ** (1 / 100))
    assert 0 < arrays["minimum"].max() <= most + 1e-9 and report["checkpoint"]["digest"] == restore.load(trained_run).digest
    shutil.copytree(trained_run / "best", tmp_path / "run" / "best")
    assert runs.read(tmp_path / "run").certificates == [report]


def test_a_refuted_certificate_fails_loudly(linear, tmp_path, capsys, monkeypatch):
    """Bounds that are false: every radius is certified."""
    from dsrna_jax.evaluation.certify import radii

    monkeypatch.setattr(radii, "margins_of", lambda f, x, y, *_, **__: np.ones((len(x), 9)))
    assert run_command(f"--out={tmp_path / 'out'}", *SMALL) == 2
    out, err = capsys.readouterr()
    assert err.startswith("FAIL: ") and err.count("\n") == 1 and "certificates are refuted" in err and "PASS" not in out
    assert json.loads((tmp_path / "out/certify.json").read_text())["refuted"] > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method=guess"], "<ibp|crown_ibp|"),
        (["--norm=l1"], "<linf|l2>"),
        (["--method=smoothing"], "certifies l2 balls only; give --norm=l2"),
        (["--method=smoothing", "--norm=l2", "--noclip"], "clip=False has no effect: expected method!=smoothing, or clip=True"),
        (["--method=verify", "--arithmetic=exact"], "arithmetic='exact' has no effect: expected method!=verify"),
        (["--timeout=3"], "timeout=3.0 has no effect: expected method=verify, or timeout=60.0"),
        (["--attack=ddn"], "attack=ddn with norm=linf: expected pgd or fab"),
        (["--method=smoothing", "--norm=l2", "--sigma=0"], "sigma=0.0: expected at least 1e-06"),
        (["--method=smoothing", "--norm=l2", "--alpha=1"], "alpha=1.0: expected less than 1"),
        (["--batch_size=0"], "batch_size=0: expected at least 1"),
        (["--examples=-1"], "examples=-1: expected at least 0"),
        (["--split=validation"], "split"),
        (["--resume"], "no evaluation to resume"),
        (["--out={0}/file"], "is a file"),
        (["extra"], "unexpected argument 'extra'"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_ends_in_one_line(linear, tmp_path, capsys, arguments, expected):
    (tmp_path / "file").write_text("")
    arguments = [argument.format(tmp_path) for argument in arguments]
    if not any(argument.startswith("--out") for argument in arguments):
        arguments.append(f"--out={tmp_path / 'out'}")
    assert run_command(*arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and expected in err
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_is_an_error(tmp_path, capsys):
    assert status(certify.main, ["certify"]) == 1
    assert "expected --checkpoint=RUN" in capsys.readouterr().err
    assert status(certify.main, ["certify", f"--checkpoint={tmp_path}"]) == 1
    assert "no checkpoint in" in capsys.readouterr().err


def test_a_method_that_exceeds_memory_is_refused_before_the_first_batch(linear, tmp_path, capsys):
    with memory_of_device(1):
        assert run_command(f"--out={tmp_path / 'out'}", *SMALL) == 1
        err = capsys.readouterr().err
        assert "method=crown_ibp would take about" in err and "smaller batch_size or chunk" in err and "smoothing" in err
        assert not (tmp_path / "out").exists()
        assert run_command(f"--out={tmp_path / 'out'}", "--dry_run", *SMALL) == 0
    out = capsys.readouterr().out
    assert "clean passes" in out and out.splitlines()[-1].startswith("WARN: method=crown_ibp would take about")


def test_dry_run_prints_the_cost_of_each_method(tmp_path, capsys):
    """The network has convolutions, and is as a training leaves it."""
    described = derived_network(TINY, cells=3, channels=4, classes=10, **STATISTICS)
    shapes = jax.eval_shape(described.init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 1), "float32"))
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), dict(shapes))
    metadata = linear_network(cells=3, channels=4, auxiliary_weight=0.0).metadata | {"genotype": genotypes.to_json(TINY)}
    state = {"weights": variables["params"], "batch_stats": variables["batch_stats"]}
    Checkpoints(tmp_path / "best").save(7, state, metadata)
    assert status(certify.main, ["certify", f"--checkpoint={tmp_path}", "--dry_run", "--examples=30"]) == 0
    out = capsys.readouterr().out
    assert "digits test: 30 images; " in out and "relu" in out and "hz_crown" in out and "clean passes" in out
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]


def test_settings_of_a_resumed_run_are_compared(linear, tmp_path, capsys, monkeypatch):
    out = f"--out={tmp_path}"
    assert run_command(out, *SMALL) == 0
    first = (tmp_path / "radii.npz").read_bytes()
    assert run_command(out, *SMALL) == 1 and "give --resume to go on with it" in capsys.readouterr().err
    assert run_command(out, *SMALL, "--resume", "--tries=3") == 1 and "tries: 20 -> 3" in capsys.readouterr().err
    monkeypatch.setattr(restore, "load", lambda path: linear_network(2.0))
    assert run_command(out, *SMALL, "--resume") == 1 and "checkpoint digest: " in capsys.readouterr().err
    monkeypatch.setattr(restore, "load", lambda path: linear_network())
    assert (tmp_path / "radii.npz").read_bytes() == first
    assert run_command(out, *SMALL, "--resume") == 0 and "resuming after 3 of 3 batches" in capsys.readouterr().out


def started(out, *arguments):
    command = [sys.executable, str(ROOT / "tests/helpers/linear_run.py"), "certify", "--checkpoint=RUN", f"--out={out}"]
    command += ["--examples=150", "--batch_size=5", "--method=ibp", "--attack_steps=200", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_batches(out, process, count=3):
    while not (out / "batches.jsonl").exists() or (out / "batches.jsonl").read_text().count("\n") < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_and_resumed_run_equals_an_unbroken_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    first = started(broken)
    wait_for_batches(broken, first)
    first.kill()
    first.communicate()
    with open(broken / "batches.jsonl", "a") as file:
        file.write('{"batch": 99')  # as if it had died while it wrote
    second = started(broken, "--resume")
    wait_for_batches(broken, second, 8)
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=120)
    assert second.returncode == 128 + signal.SIGTERM
    assert err.count("\n") == 1 and "stopped by SIGTERM; " in err and "done and kept" in err and "--resume" in err
    assert not (broken / "certify.json").exists()
    third, unbroken = started(broken, "--resume"), started(whole)
    out, err = third.communicate(timeout=300)
    assert (third.returncode, err) == (0, "") and "resuming after" in out
    assert unbroken.communicate(timeout=300)[1] == "" and unbroken.returncode == 0
    assert (broken / "radii.npz").read_bytes() == (whole / "radii.npz").read_bytes()


def test_round_radii_span_certified_and_attacked_radii():
    assert certification_report.round_radii(np.array([0.0, 0.0]), None) == [0.0]
    assert certification_report.round_radii(np.array([0.0, 0.003]), np.array([0.03, np.inf])) == [
        0.0, 0.002, 0.005, 0.01, 0.02, 0.05,
    ]  # fmt: skip


@pytest.mark.slow
def test_two_devices_certify_the_same_radii_as_one(linear, tmp_path, monkeypatch, capsys):
    settings = ("--examples=24", "--batch_size=8", "--attack_steps=20")
    assert run_command(f"--out={tmp_path / 'one'}", "--devices=1", *settings) == 0
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    process = started(tmp_path / "two", *settings, "--method=hz_crown", "--devices=2")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (0, "") and "24 images, on 2 cpu devices" in out
    one, two = read_arrays(tmp_path / "one"), read_arrays(tmp_path / "two")
    assert one.keys() == two.keys() and (one["attacked"] > 0).any()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], rtol=1e-5, err_msg=name)


def test_a_batch_that_devices_cannot_share_is_refused(linear, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sharding, "own_mesh", lambda count: SimpleNamespace(size=3))
    assert run_command(f"--out={tmp_path / 'out'}", *SMALL) == 1
    assert "batch_size=10 does not divide among 3 devices" in capsys.readouterr().err


def test_percentiles_of_certified_radii_are_rounded_down_and_those_of_attacks_up():
    """So the first are no more, and the second no less, than the radii between which they lie."""
    radii, correct = np.array([0.0, 0.25, np.inf, np.inf]), np.ones(4, bool)
    down, up = certification_report.summary(radii, correct), certification_report.summary(radii, correct, rounded="higher")
    assert (down["p25"], down["median"], down["p5"]) == (0.0, 0.25, 0.0)
    assert (up["p25"], up["median"], up["p5"]) == (0.25, None, 0.25)
