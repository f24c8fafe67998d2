"""The command verify: lists of instances of VNN-COMP and trained networks, by a small verifier of random points and bounds."""

import csv
import json
import os

import jax
import numpy as np
import pytest
from late_verdicts import out_of_time
from linear_run import exact_radii, fitted, linear_network
from onnx import helper, numpy_helper, save
from onnx_cases import model_of
from quick import quick
from threads_as_processes import statuses
from vnncomp_files import verdict, written

from dsrna_jax import bounds, strict_json
from dsrna_jax.commands import verify
from dsrna_jax.commands.process import status
from dsrna_jax.evaluation import shapes
from dsrna_jax.evaluation.verify import instances
from dsrna_jax.interchange import s_expressions
from dsrna_jax.runtime.lock import held
from dsrna_jax.runtime.machine import MACHINE
from dsrna_jax.runtime.origin import ORIGIN
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import restore

CALLS = []


@quick
def holds_at(f, points, specification):
    """Whether the property holds at each of the points."""
    y = f(points).reshape(len(points), -1)
    rows, offsets = specification.rows.reshape(-1, y.shape[1]), specification.offsets.reshape(1, -1)
    return specification.holds(y @ rows.T + offsets)


@quick
def certified(f, region, specification):
    """Whether bounds in float32 show that the property holds."""
    x, box = jax.tree.map(lambda side: side.astype(np.float32), (region.middle, region))
    return specification.holds(bounds.specification_margins(f, x, specification, box=box, method="crown_ibp"))[0]


def small_verifier(f, region, specification, *, timeout):
    """1,000 random points, then bounds; records its calls."""
    CALLS.append(timeout)
    low, high = (np.asarray(side)[0] for side in (region.lower, region.upper))
    points = np.random.default_rng(0).uniform(low, high, (1000, *low.shape))
    holds = np.asarray(holds_at(f, points.astype(np.float32), specification))
    if not holds.all():
        return verdict("counterexample", points[np.argmin(holds)])
    return verdict("verified" if certified(f, region, specification).item() else "unknown")


class InThisProcess:
    """In place of `Apart`, for the verifiers of this file."""

    def __init__(self, make):
        self.function = make()

    def __call__(self, *arguments, seconds):
        assert seconds == arguments[-1] + verify.GRACE
        return self.function(*arguments)


@pytest.fixture(autouse=True)
def verifier(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(bounds, "verify", small_verifier, raising=False)
    monkeypatch.setattr(verify, "Apart", InThisProcess)
    monkeypatch.setattr(verify, "use_many_heaps", lambda: None)


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path)


def run(*arguments):
    return status(verify.main, ["verify", *map(str, arguments)])


@pytest.mark.parametrize(("name", "expected"), [("holds", "unsat"), ("both_boxes_hold", "unsat"), ("two_rows", "unknown")])
def test_an_instance_that_holds_is_unsat(name, expected, folder, capsys):
    """No point has y0 >= 1.5 and y1 >= 0.75, which the bounds of each row do not show."""
    assert run(folder / "n.onnx", folder / f"{name}.vnnlib", "--timeout=7") == 0
    assert capsys.readouterr().out == f"{expected}\n" and all(0 < seconds <= 7 for seconds in CALLS)


@pytest.mark.parametrize("name", ["fails.vnnlib", "one_box_fails.vnnlib", "packed.vnnlib.gz", "packed.vnnlib"])
def test_a_counterexample_is_printed_as_vnncomp_has_it(name, folder, capsys):
    assert run(folder / "n.onnx", folder / name, f"--results={folder / 'out.txt'}") == 0
    printed = capsys.readouterr().out
    assert printed == (folder / "out.txt").read_text() and printed.startswith("sat\n((X_0 ")
    (form,) = s_expressions.parsed(printed.removeprefix("sat\n"))
    x0, x1, y0, y1 = (float(pair.items[1]) for pair in form.items)
    np.testing.assert_allclose([y0, y1], [x0 + x1, x0 - x1], atol=1e-6)
    assert y0 >= 1.5 if "one" not in name else x0 <= 0.25 and y0 <= 1


def test_the_file_of_an_instance_that_cannot_be_read_says_error(folder, capsys):
    assert run(folder / "n.onnx", folder / "absent.vnnlib", f"--results={folder / 'new' / 'out.txt'}") == 1
    assert (folder / "new" / "out.txt").read_text() == "error\n" and "cannot read" in capsys.readouterr().err
    assert run(folder / "n.onnx", folder / "holds.vnnlib", f"--results={folder / 'new'}") == 1
    assert "is a folder: expected a file" in capsys.readouterr().err


def test_a_csv_is_answered_and_resumed(folder, capsys):
    (folder / "deep").mkdir()
    lines = ["n.onnx,holds.vnnlib,5", "n.onnx, fails.vnnlib, 6", "", "n.onnx,absent.vnnlib,7", "n.onnx,two_rows.vnnlib,8"]
    (folder / "instances.csv").write_text("\n".join(lines[:2]))
    results = folder / "deep" / "out.csv"
    assert run(f"--instances={folder / 'instances.csv'}", f"--results={results}", f"--vnncomp={folder / 'new' / 'v.csv'}") == 0
    competition = list(csv.reader((folder / "new" / "v.csv").read_text().splitlines()))
    answers = [("holds.vnnlib", "unsat"), ("fails.vnnlib", "sat")]
    assert [row[:5] for row in competition] == [[folder.name, "n.onnx", vnnlib, "0", result] for vnnlib, result in answers]
    assert "2 instances: 1 unsat, 1 sat; " in capsys.readouterr().out
    assert (
        (folder / "deep" / "out_counterexamples" / instances.example_file("n.onnx", "fails.vnnlib"))
        .read_text()
        .startswith("sat\n((X_0")
    )
    first = len(CALLS)
    (folder / "instances.csv").write_text("\n".join(lines))
    assert run(f"--instances={folder / 'instances.csv'}", f"--results={results}", "--timeout=3") == 0
    out = capsys.readouterr().out
    assert f"2 of 4 instances have rows in {results} and are not run again\n" in out
    assert "holds.vnnlib" not in out and "4 instances: 1 unsat, 1 sat, 1 unknown, 1 error" in out
    assert len(CALLS) == first + 1 and CALLS[-1] <= 3
    rows = list(csv.DictReader(results.read_text().splitlines()))
    assert [row["result"] for row in rows] == ["unsat", "sat", "error", "unknown"]
    assert "cannot read" in rows[2]["reason"] and rows[3]["timeout"] == "3" and rows[0]["timeout"] == "5"


def test_an_instance_ends_by_its_deadline_or_by_an_exception_alone(folder, monkeypatch):
    """The row of the one that runs says error until it is known, so that a killed command goes on behind it."""
    results, faults = (
        folder / "results.csv",
        [TimeoutError(), ChildProcessError("by SIGKILL"), TypeError("two\nlines"), Stopped(2, "")],
    )

    def faulty(onnx, vnnlib, timeout):
        assert results.read_text().splitlines()[-1].split(",")[3] == "error"
        raise faults.pop(0)

    monkeypatch.setattr(verify, "answering", lambda: faulty)
    (folder / "instances.csv").write_text("".join(f"n.onnx,{name}.vnnlib,5\n" for name in "abcd"))
    assert run(f"--instances={folder / 'instances.csv'}") == 128 + 2
    rows = list(csv.DictReader(results.read_text().splitlines()))
    assert [(row["vnnlib"], row["result"]) for row in rows] == [
        ("a.vnnlib", "timeout"),
        ("b.vnnlib", "error"),
        ("c.vnnlib", "error"),
    ]
    assert "2 s after its time" in rows[0]["reason"] and float(rows[0]["seconds"]) == 7
    assert (rows[1]["reason"], rows[2]["reason"]) == ("ChildProcessError: by SIGKILL", "TypeError: two lines")
    faults.append(TimeoutError())
    assert run(folder / "n.onnx", folder / "a.vnnlib", f"--results={folder / 'out.txt'}") == 0
    assert (folder / "out.txt").read_text() == "timeout\n"


def test_results_lie_beside_the_instances_by_default(folder, capsys):
    (folder / "instances.csv").write_text("n.onnx,holds.vnnlib,5\n")
    assert run("--instances", folder / "instances.csv") == 0
    assert f"{folder / 'results.csv'} holds a row" in capsys.readouterr().out and (folder / "results.csv").is_file()


def test_a_line_with_the_files_of_one_before_it_is_left_out_and_said_to_be(folder, capsys):
    (folder / "instances.csv").write_text("\nn.onnx,holds.vnnlib,5\n\nn.onnx,holds.vnnlib,60\n")
    assert run("--instances", folder / "instances.csv") == 0
    out = capsys.readouterr().out
    assert "2/2 n.onnx holds.vnnlib: the same as instance 1, and left out" in out and "1 instances: 1 unsat" in out


def test_processes_share_out_the_instances_of_a_csv(folder, monkeypatch, capsys):
    names = ["holds", "fails", "absent", "two_rows", "one_box_fails", "fails"]
    (folder / "instances.csv").write_text("".join(f"n.onnx,{name}.vnnlib,5\n" for name in names))
    arguments = ("verify", f"--instances={folder / 'instances.csv'}", f"--vnncomp={folder / 'v.csv'}")
    assert statuses(monkeypatch, 3, verify.main, *arguments) == [0, 0, 0]
    out, rows = capsys.readouterr().out, list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert {row["vnnlib"]: row["result"] for row in rows} == {
        "holds.vnnlib": "unsat", "fails.vnnlib": "sat", "absent.vnnlib": "error", "two_rows.vnnlib": "unknown",
        "one_box_fails.vnnlib": "sat",
    }  # fmt: skip
    assert len(rows) == 5 == len((folder / "v.csv").read_text().splitlines())
    assert out.count("/6 n.onnx") == 6 and out.count("left out") == 1
    assert out.count("5 instances: 1 unsat, 2 sat, 1 unknown, 1 error") == 1
    kept = {file.name for file in (folder / "results_counterexamples").iterdir()}
    assert kept == {instances.example_file("n.onnx", f"{name}.vnnlib") for name in ("fails", "one_box_fails")}


def test_instances_before_others_leave_their_counterexamples(folder, capsys):
    lines = ["n.onnx,fails.vnnlib,5\n", "n.onnx,one_box_fails.vnnlib,5\n", "n.onnx,absent.vnnlib,5\n"]
    kept = folder / "results_counterexamples"
    for count in (1, 2, 3):
        (folder / "instances.csv").write_text("".join(reversed(lines[:count])))
        assert run("--instances", folder / "instances.csv") == 0
        if count == 1:
            (first,) = kept.iterdir()
            text = first.read_text()
    assert len(list(kept.iterdir())) == 2 and first.read_text() == text
    assert "1 of 2 instances have rows" in (out := capsys.readouterr().out) and "undecided" not in out
    assert run("--instances", folder / "instances.csv") == 0
    assert "3 of 3 instances have rows" in (out := capsys.readouterr().out) and "; 1 of these are undecided: delete" in out


def test_the_file_of_a_counterexample_is_of_its_instance_alone():
    paths = ["a.onnx", "b/a.onnx", "b/a.onnx.gz", "../a.onnx", "a b.onnx", "a_b.onnx", f"{'n' * 300}.onnx"]
    names = [instances.example_file(onnx, vnnlib) for onnx in paths for vnnlib in ("p.vnnlib", "/x/p.vnnlib", "p.vnnlib.gz")]
    assert len(set(names)) == len(names) and all(len(name) < 200 and "/" not in name and " " not in name for name in names)
    assert names[0].startswith("a-p-") and instances.example_file("a.onnx", "p.vnnlib") == names[0]


def test_a_damaged_row_of_results_is_named(folder, capsys):
    (folder / "instances.csv").write_text("n.onnx,holds.vnnlib,5\n")
    assert run("--instances", folder / "instances.csv") == 0
    with (folder / "results.csv").open("a") as file:
        file.write("n.onnx,hol")
    assert run("--instances", folder / "instances.csv") == 1
    assert "results.csv, row 3: expected onnx,vnnlib,timeout,result" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["instances", "results"])
def test_a_garbled_csv_is_refused_by_name_and_stays(folder, capsys, name):
    heading = ",".join(instances._HEADING)
    garbled = [
        "",
        "\0",
        "x",
        "a,b",
        "a,b,nan",
        "a,b,-1",
        "a,b,1,2",
        '"',
        "a" * 200_000,
        "\ufffd",
        heading + "\nn,v,5,sat,x,1,why",
    ]
    garbled += [f"{heading}\nn,v,5,{status},1.000,1" for status in ("sat", "maybe")]
    (folder / "instances.csv").write_text("n.onnx,holds.vnnlib,5\n")
    for content in [*(text.encode() for text in garbled), b"\xff\xfe"]:
        (folder / f"{name}.csv").write_bytes(content)
        assert run(f"--instances={folder / 'instances.csv'}") == 1
        err = capsys.readouterr().err
        assert f"{name}.csv" in err and err.count("\n") == 1 and (folder / f"{name}.csv").read_bytes() == content, content


def test_a_second_process_does_not_write_the_same_results(folder, capsys):
    (folder / "instances.csv").write_text("n.onnx,holds.vnnlib,5\n")
    with held(folder / ".results.csv.lock", folder / "results.csv", "results"):
        assert run(f"--instances={folder / 'instances.csv'}") == 1
    assert f"results.csv is in use by process {os.getpid()} on" in capsys.readouterr().err
    assert run(f"--instances={folder / 'instances.csv'}") == 0 and not list(folder.glob(".*"))


@pytest.fixture
def linear(monkeypatch):
    monkeypatch.setattr(restore, "load", lambda path: linear_network())


def test_a_checkpoint_is_verified_around_images_and_resumed(linear, tmp_path, capsys):
    """The answers follow the exact distance of each image to the boundary of the linear classifier."""
    from dsrna_jax.data import load

    out = tmp_path / "out"
    flags = ("--checkpoint=RUN", f"--out={out}", "--examples=12", "--radius=0.02")
    assert run(*flags) == 0
    text, report = capsys.readouterr().out, json.loads((out / "verify.json").read_text())
    strict_json.check(report, shapes.VERIFY | {"origin": ORIGIN, "machine": MACHINE})
    assert (out / "index.html").read_text().count('<th scope="row">') == 12
    digits = load("digits", "test")
    for row in report["rows"]:
        (distance,) = exact_radii(digits.images[[row["index"]]] / 255.0, digits.labels[[row["index"]]])
        assert row["label"] == digits.labels[row["index"]] and (row["status"] == "misclassified") == (distance == 0)
        assert distance > 0.019 or row["status"] != "verified"
    counts = report["counts"]
    assert counts["verified"] > 0 and sum(counts.values()) == report["examples"] == 12
    assert report["verified"]["accuracy"] == counts["verified"] / 12 and f"{counts['verified']} verified" in text
    with np.load(out / "counterexamples.npz") as found:
        assert found["image"].shape == (counts["counterexample"], 8, 8, 1)
        weights = fitted()
        labels = digits.labels[found["index"]]
        assert ((found["image"].reshape(-1, 64) @ weights[:-1] + weights[-1]).argmax(1) != labels).all()
    calls, lines = len(CALLS), (out / "batches.jsonl").read_text().splitlines(keepends=True)
    (out / "batches.jsonl").write_text("".join(lines[:-1]))
    before = (out / "verify.json").read_text()
    assert run(*flags) == 1 and "give --resume" in capsys.readouterr().err
    assert run(*flags, "--resume") == 0 and "resuming after 11 of 12" in capsys.readouterr().out
    assert (out / "verify.json").read_text() == before and len(CALLS) <= calls + 1
    assert run(*flags, "--resume", "--radius=0.03") == 1 and "radius: 0.02 -> 0.03" in capsys.readouterr().err


@pytest.mark.parametrize("compiling", [True, False])
def test_an_image_for_which_programs_are_compiled_is_tried_again(linear, tmp_path, monkeypatch, compiling):
    asked = out_of_time(monkeypatch, seconds=20.5, compiling=20.0 * compiling, then=bounds.verify)
    assert run("--checkpoint=RUN", f"--out={tmp_path}", "--examples=1", "--radius=1e-4", "--timeout=20") == 0
    (row,) = json.loads((tmp_path / "verify.json").read_text())["rows"]
    assert asked == [20] * (1 + compiling) and row["status"] == ("verified" if compiling else "unknown")


def test_processes_share_out_the_images_of_a_checkpoint(linear, tmp_path, monkeypatch, capsys):
    one, two = tmp_path / "one", tmp_path / "two"
    flags = ("--checkpoint=RUN", "--examples=5", "--radius=0.02")
    assert run(*flags, f"--out={one}") == 0
    said = capsys.readouterr().out.splitlines()
    assert statuses(monkeypatch, 2, verify.main, "verify", *flags, f"--out={two}") == [0, 0]
    assert capsys.readouterr().out.splitlines()[-11:-3] == said[-11:-3]
    reports = [json.loads((out / "verify.json").read_text()) for out in (one, two)]
    assert reports[0]["rows"] == reports[1]["rows"] and reports[0]["counts"] == reports[1]["counts"]
    assert (one / "counterexamples.npz").read_bytes() == (two / "counterexamples.npz").read_bytes()


def test_a_dry_run_states_the_most_time(linear, capsys):
    assert run("--checkpoint=RUN", "--dry_run", "--examples=10", "--timeout=3") == 0
    assert "digits test: 10 images" in (out := capsys.readouterr().out) and "at most 30 s, 3 s an image" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected NETWORK.onnx PROPERTY.vnnlib, --instances=CSV or --checkpoint=RUN"),
        (["{0}/n.onnx"], "expected a network and a property"),
        (["{0}/holds.vnnlib", "{0}/n.onnx"], "expected a network and a property"),
        (["{0}/n.onnx", "{0}/holds.vnnlib", "--timeout=0"], "timeout=0.0: expected more than 0"),
        (["{0}/n.onnx", "{0}/holds.vnnlib", "--checkpoint=RUN"], "expected one of NETWORK.onnx"),
        (["{0}/n.onnx", "{0}/absent.vnnlib"], "cannot read"),
        (["{0}/three.onnx", "{0}/holds.vnnlib"], "declares X_0 to X_1, but"),
        (["{0}/outputs.onnx", "{0}/holds.vnnlib"], "declares Y_0 to Y_1, but"),
        (["--instances={0}/bad.csv"], "line 2: expected onnx,vnnlib,timeout"),
        (["--instances={0}/empty.csv"], "has no instances"),
        (["--instances={0}/absent.csv"], "cannot read"),
        (["--instances={0}/good.csv", "--results={0}/bad.csv"], "is no csv of results"),
        (["{0}/n.onnx", "{0}/holds.vnnlib", "--dry_run"], "--dry_run is of --checkpoint=RUN"),
        (["--instances={0}/good.csv", "--radius=0.1"], "--radius is of --checkpoint=RUN"),
        (["--instances={0}/good.csv", "--resume"], "--resume is of --checkpoint=RUN"),
        (["{0}/n.onnx", "{0}/holds.vnnlib", "--coordinator_address=localhost:1"], "one instance takes one process: leave out"),
        (["--instances={0}/good.csv", "--process_id=1"], "process_id needs coordinator_address"),
        (["{0}/n.onnx", "{0}/holds.vnnlib", "--vnncomp=x.csv"], "expected --results=FILE for one"),
        (["--checkpoint=RUN", "--vnncomp=x.csv"], "vnncomp is of instances: expected --out=FOLDER"),
        (["--checkpoint=RUN", "--results=x.csv"], "expected --out=FOLDER"),
        (["--checkpoint=RUN", "--devices=2"], "on one device: leave out devices=2"),
        (["--checkpoint=RUN", "--radius=2"], "radius=2.0: expected at most 1"),
        (["--checkpoint={0}/absent"], "no checkpoint in"),
        (["extra"], "unexpected argument 'extra': expected NETWORK.onnx PROPERTY.vnnlib, --instances=CSV or --checkpoint=RUN ("),
        (["--checkpoint={0}/n.onnx"], "a file .safetensors; ONNX goes with a property, NETWORK.onnx PROPERTY.vnnlib"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, expected, folder, capsys):
    (folder / "bad.csv").write_text("n.onnx,holds.vnnlib,5\nn.onnx,holds.vnnlib,0\n")
    (folder / "good.csv").write_text("n.onnx,holds.vnnlib,5\n")
    (folder / "empty.csv").write_text("\n")
    for name, shape in (("three", (3, 2)), ("outputs", (2, 3))):
        matrix = numpy_helper.from_array(np.ones(shape, np.float32), "w")
        save(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], [matrix], shape=(1, shape[0])), folder / f"{name}.onnx")
    before = sorted(folder.rglob("*"))
    assert run(*(argument.format(folder) for argument in arguments)) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and expected in err
    assert sorted(folder.rglob("*")) == before
