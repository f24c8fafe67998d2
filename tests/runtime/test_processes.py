"""Several processes share a run as one would have it, and end together, with one line, whatever befalls one of them."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_run
from threads_as_processes import together

from dsrna_jax.commands.command import run_command
from dsrna_jax.commands.process import status
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.checkpoint import restore_for_eval
from dsrna_jax.runtime.joining import _parsed
from dsrna_jax.runtime.processes import current

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"


def port():
    """One that is free."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


def started(*arguments, devices=1, code=None, **environment):
    """A process that runs `tiny_run`, or a program given by its code."""
    path = os.pathsep.join(map(str, (HELPERS, ROOT)))
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": path, "XLA_FLAGS": flags} | environment
    command = [sys.executable, *(["-c", code] if code else [HELPERS / "tiny_run.py"]), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(*processes):
    """Their exit statuses, and all that they said on standard output and error."""
    try:
        said = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    errors = "".join(line for _, err in said for line in err.splitlines(keepends=True) if not line.startswith("[Gloo]"))
    return [process.returncode for process in processes], "".join(out for out, _ in said), errors


def pair(folder, *arguments, command=None, own=((), ()), faults=({}, {}), **options):
    """Two processes that share a run, or an evaluation by a command: what `ended` returns."""
    address = f"--coordinator_address=127.0.0.1:{port()}"
    begin = (command, f"--out={folder}") if command else (f"--run_dir={folder}",)
    common = (*begin, address, "--join_timeout=60", *arguments)
    numbered = [("--num_processes=2", f"--process_id={i}", *more) for i, more in enumerate(own)]
    return ended(*(started(*common, *more, **fault, **options) for more, fault in zip(numbered, faults, strict=True)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The folder of a run that two processes with a device each have shared, never interrupted."""
    folder = tmp_path_factory.mktemp("shared") / "run"
    statuses, out, err = pair(folder)
    assert (statuses, err) == ([0, 0], "")
    assert out.count("ended after 45 steps") == 1 and "2 cpu devices" in out
    return folder


def weights(folder):
    return np.asarray(restore_for_eval(folder).variables["weights"])


def assert_same_run(one, other):
    for name in ("config.json", "metrics.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert weights(one).tobytes() == weights(other).tobytes()


def test_two_processes_equal_one_with_as_many_devices(shared, tmp_path):
    statuses, _, err = ended(started(f"--run_dir={tmp_path / 'run'}", devices=2))
    assert (statuses, err) == ([0], "")
    rows = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (shared, tmp_path / "run")]
    for here, there in zip(*rows, strict=True):
        assert here == pytest.approx(there, rel=1e-5)
    np.testing.assert_allclose(weights(shared), weights(tmp_path / "run"), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_signal_to_one_process_stops_both_at_a_step_that_is_saved(shared, tmp_path, stopped):
    folder = tmp_path / "run"
    statuses, out, err = pair(folder, faults=[{"FAULT": "term:20"} if i == stopped else {} for i in range(2)])
    assert statuses == [143, 143]
    step = restore_for_eval(folder).step
    assert 20 <= step < 45 and err.count("\n") == 1 and f"stopped by SIGTERM after step {step} of 45, which is saved" in err
    assert pair(folder, "--resume")[0] == [0, 0]
    assert_same_run(folder, shared)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_signal_to_a_process_that_is_busy_ends_both_with_a_line(tmp_path, stopped):
    faults = [{"FAULT": "term:0", "PAUSE": "60"} if i == stopped else {} for i in range(2)]
    statuses, _, err = pair(tmp_path / "run", faults=faults)
    assert statuses == [143, 143] and err.count("\n") == 1 and "stopped by SIGTERM while busy" in err
    assert ("process 1 of 2 on" in err) == (stopped == 1)


@pytest.mark.slow
def test_a_run_of_two_processes_goes_on_in_one(shared, tmp_path):
    folder = tmp_path / "run"
    assert pair(folder, faults=[{}, {"FAULT": "term:20"}])[0] == [143, 143]
    statuses, out, err = ended(started(f"--run_dir={folder}", "--resume", devices=2))
    assert (statuses, err) == ([0], "") and "resuming after step" in out
    np.testing.assert_allclose(weights(shared), weights(folder), rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_in_one_process_ends_both_with_its_line(tmp_path, failing):
    folder = tmp_path / "run"
    statuses, _, err = pair(folder, faults=[{"FAULT": "fail:20"} if i == failing else {} for i in range(2)])
    assert statuses == [1, 1] and err.count("\n") == 1 and "the disk of this process is full" in err
    assert ("process 1 of 2 on" in err) == (failing == 1)
    assert restore_for_eval(folder).step == 15


@pytest.mark.slow
def test_a_defect_in_one_process_is_reported_there_and_named_by_the_other(tmp_path):
    statuses, _, err = pair(tmp_path / "run", faults=[{}, {"FAULT": "unknown:20"}])
    assert statuses == [1, 1] and err.count("Traceback") == 1
    assert "KeyError: 'unknown'" in err and "a defect, which it reports itself: KeyError" in err


@pytest.mark.parametrize("lost", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_lost_process_ends_the_other_with_a_line(tmp_path, lost):
    folder = tmp_path / "run"
    statuses, _, err = pair(folder, faults=[{"FAULT": "die:20"} if i == lost else {} for i in range(2)])
    assert statuses == [-signal.SIGKILL if i == lost else 1 for i in range(2)]
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))  # where process 0 is lost, JAX may say so too
    assert f"process {lost}" in line and "is lost" in line
    assert restore_for_eval(folder).step == 15


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [0, 1])
def test_a_process_that_is_stopped_ends_the_other_with_a_line_and_itself_once_it_goes_on(tmp_path, frozen):
    folder, address = tmp_path / "run", f"127.0.0.1:{port()}"
    code = """if True:
        import runpy, tiny_run
        from dsrna_jax.runtime import links, processes
        links.BEAT, links.SILENCE, processes.GRACE = 0.5, 8.0, 2.0
        runpy.run_path(tiny_run.__file__, run_name="__main__")"""
    common = (f"--run_dir={folder}", f"--coordinator_address={address}", "--num_processes=2")
    faults = [{"FAULT": "freeze:20"} if i == frozen else {} for i in range(2)]
    both = [started(*common, f"--process_id={i}", code=code, **fault) for i, fault in enumerate(faults)]
    try:
        statuses, _, err = ended(both[1 - frozen])
        assert statuses == [1] and err.count("error: ") == 1 and f"process {frozen}" in err and "is lost" in err
        os.kill(both[frozen].pid, signal.SIGCONT)
        assert ended(both[frozen])[0] == [1]
    finally:
        both[frozen].kill()
    assert restore_for_eval(folder).step == 15


@pytest.mark.parametrize(
    ("own", "faults", "said"),
    [
        (((), ("--seed=1",)), ({}, {}), r"process 1 has another command than process 0 (seed: 0 -> 1)"),
        pytest.param(
            ((), ()),
            ({}, {"FAULT": "data"}),
            "process 1 has another configuration or data set than process 0",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ((), ()),
            ({}, {"JAX_ENABLE_X64": "1"}),
            "process 1 has another version than process 0 (x64: False -> True)",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (("--batch_size=63",), ("--batch_size=63",)),
            ({}, {}),
            "batch_size=63 does not divide among 2 devices",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            (("--devices=1",), ("--devices=1",)),
            ({}, {}),
            "devices=1: expected a multiple of 2, the number of processes",
            marks=pytest.mark.slow,
        ),
        pytest.param(((), ("--process_id=0",)), ({}, {}), "cannot listen there", marks=pytest.mark.slow),
        pytest.param(
            ((), ("--num_processes=3",)), ({}, {}), "was started with num_processes=3, process 0 with 2", marks=pytest.mark.slow
        ),
    ],
    ids=["configuration", "data", "version", "batch", "devices", "double", "count"],
)
def test_processes_that_do_not_fit_are_refused_in_one_line_and_leave_nothing(tmp_path, own, faults, said):
    statuses, _, err = pair(tmp_path / "run", "--join_timeout=5", own=own, faults=faults)
    assert statuses == [1, 1] and said in err, err
    assert err.count("\n") == 1 + ("cannot listen" in err)  # there each is a process 0
    assert not list(tmp_path.iterdir())


def test_processes_that_wait_in_vain_say_for_whom(tmp_path):
    address = f"--coordinator_address=127.0.0.1:{port()}"
    common = (f"--run_dir={tmp_path / 'run'}", address, "--num_processes=3", "--join_timeout=3")
    statuses, _, err = ended(started(*common, "--process_id=0"), started(*common, "--process_id=2"))
    assert statuses == [1, 1] and err.count("\n") == 1 and "process 1 of 3 did not come within 3 s" in err
    statuses, _, err = ended(started(*common, "--process_id=1"))
    assert statuses == [1] and err.count("\n") == 1 and "no process 0 answered there within 3 s" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--num_processes=2",), "num_processes needs coordinator_address"),
        (("--coordinator_address=here",), "expected HOST:PORT of process 0"),
        (("--coordinator_address=127.0.0.1:1", "--num_processes=2"), "process_id=-1: expected 0 to num_processes - 1"),
    ],
)
def test_flags_that_do_not_fit_together_are_refused(tmp_path, capsys, flags, said):
    command = lambda argv: run_command(tiny_run.COMMAND, argv)  # noqa: E731
    assert status(command, ["tiny", f"--run_dir={tmp_path / 'run'}", *flags]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err


def test_without_a_cluster_there_is_none_to_join(tmp_path):
    statuses, _, err = ended(started(f"--run_dir={tmp_path / 'run'}", "--coordinator_address=auto"))
    assert statuses == [1] and err.count("\n") == 1 and "no cluster is detected here" in err


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_each_item_is_worked_on_by_one_process_and_known_to_all(monkeypatch, count):
    def work():
        own = []
        shared = [list(current().shared_out(lambda n: own.append(n) or [n / 7, float("inf")], range(n))) for n in range(6)]
        return own, shared

    works = together(monkeypatch, count, work)
    everything = [[(number, [number / 7, float("inf")]) for number in range(n)] for n in range(6)]
    assert all([sorted(items) for items in shared] == everything for _, shared in works)
    assert sorted(sum((own for own, _ in works), [])) == sorted(number for n in range(6) for number in range(n))
    assert all(number % count == index for index, (own, _) in enumerate(works) for number in own)


@pytest.mark.parametrize("text", ["", "x", ":1", "x:", "x:0", "x:65536", "x:1.5", "x:-1"])
def test_an_address_has_a_host_and_a_port(text):
    with pytest.raises(InputError, match="expected HOST:PORT"):
        _parsed(text)


def test_an_address_of_either_kind_is_read():
    assert _parsed("10.0.0.1:80") == ("10.0.0.1", 80) and _parsed("[::1]:80") == ("::1", 80)


def of_slurm(index):
    """The environment that Slurm sets in process `index` of two, for a job whose number makes a free port of JAX's choice."""
    job = next(number for number in range(os.getpid(), os.getpid() + 2**12) if is_free(number % 2**12 + 2**16 - 2**12))
    of_step = {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_NODES": "1", "SLURM_LOCALID": str(index)}
    return {"SLURM_JOB_ID": str(job), "SLURM_NTASKS": "2", "SLURM_PROCID": str(index), **of_step}


def is_free(number):
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError:
        return False
    return True


def test_a_process_of_a_cluster_that_waits_in_vain_says_so(tmp_path):
    flags = (f"--run_dir={tmp_path / 'run'}", "--coordinator_address=auto", "--join_timeout=2")
    statuses, _, err = ended(started(*flags, **of_slurm(1)))
    assert statuses == [1] and err.count("\n") == 1 and "not all processes of the cluster's job came within 2 s" in err


@pytest.mark.slow
def test_processes_that_a_cluster_or_a_script_has_joined_share_a_run_too(shared, tmp_path):
    folder = tmp_path / "run"
    common = (f"--run_dir={folder}", "--coordinator_address=auto", "--join_timeout=60")
    statuses, out, err = ended(*(started(*common, **of_slurm(index)) for index in range(2)))
    assert (statuses, err) == ([0, 0], "") and out.count("ended after 45 steps") == 1
    assert_same_run(folder, shared)


@pytest.mark.slow
def test_a_search_and_a_training_of_two_processes_equal_those_of_one(tmp_path):
    genes = {"normal": [["sep_conv_3x3", 0], ["skip_connect", 1]], "normal_concat": [2]}
    (tmp_path / "cell.json").write_text(json.dumps(genes | {"reduction": genes["normal"], "reduction_concat": [2]}))
    tiny = ("--cells=3", "--channels=4", "--auxiliary_weight=0", "--epochs=1", f"--genotype={tmp_path / 'cell.json'}")
    flags = {"search": ("--preset=smoke", "--epochs=2", "--metric=none"), "train": (*tiny, "--adversarial=fast")}
    for command, own in flags.items():
        code = f"import sys; from dsrna_jax.commands import {command}, process; process.execute({command}.main)"
        one, two = tmp_path / f"one_{command}", tmp_path / f"two_{command}"
        assert ended(started(f"--run_dir={one}", *own, devices=2, code=code))[::2] == ([0], "")
        statuses, out, err = pair(two, *own, code=code)
        assert (statuses, err) == ([0, 0], "") and "2 cpu devices" in out
        for name in {file.name for file in one.iterdir()} - {"timing.jsonl", "index.html"}:
            assert (two / name).exists()
        rows = [[json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (one, two)]
        for here, there in zip(*rows, strict=True):
            numbers = {name: value for name, value in there.items() if value is not None}
            assert {name: here[name] for name in numbers} == pytest.approx(numbers, rel=1e-3)


EVALUATION = """if True:
    import os, linear_run
    from dsrna_jax.evaluation.attack import completed
    add, number = completed.CompletedBatches.add, iter(range(1000))
    def add_and_signal(self, record):
        add(self, record)
        if next(number) == 12 and "FAULT" in os.environ:
            os.kill(os.getpid(), int(os.environ["FAULT"]))
    completed.CompletedBatches.add = add_and_signal
    linear_run.as_command()"""
EVALUATIONS = {
    "attack": ("--checkpoint=RUN", "--tier=smoke", "--examples=24", "--batch_size=8", "--probe_examples=8", "--radius=0.1"),
    "certify": ("--checkpoint=RUN", "--examples=20", "--batch_size=4", "--method=ibp", "--attack_steps=5"),
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The folder of an attack and a certification in one process, never interrupted, each in its own."""
    folder = tmp_path_factory.mktemp("evaluated")
    for command, flags in EVALUATIONS.items():
        assert ended(started(command, *flags, f"--out={folder / command}", code=EVALUATION))[::2] == ([0], "")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("command", "file"), [("attack", "flags.npz"), ("certify", "radii.npz")])
def test_an_evaluation_of_two_processes_equals_that_of_one(evaluated, tmp_path, command, file):
    statuses, out, err = pair(tmp_path / "out", *EVALUATIONS[command], command=command, code=EVALUATION)
    assert (statuses, err) == ([0, 0], "") and out.count("1 cpu device in each of 2 processes") == 1 == out.count("next: ")
    assert (tmp_path / "out" / file).read_bytes() == (evaluated / command / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("faulty", [0, 1])
def test_an_attack_of_two_processes_ends_in_both_and_goes_on_in_one(evaluated, tmp_path, number, faulty):
    out, arguments = tmp_path / "out", EVALUATIONS["attack"]
    faults = [{"FAULT": str(int(number))} if index == faulty else {} for index in range(2)]
    statuses, _, err = pair(out, *arguments, command="attack", faults=faults, code=EVALUATION)
    if number == signal.SIGKILL:
        assert statuses == [-signal.SIGKILL if index == faulty else 1 for index in range(2)]
        assert len([line for line in err.splitlines() if line.startswith(f"error: process {faulty}") and "is lost" in line]) == 1
    else:
        assert statuses == [143, 143] and err.count("\n") == 1 and "stopped by SIGTERM; every batch so far is kept in" in err
    assert not (out / "attack.json").exists()
    assert ended(started("attack", *arguments, f"--out={out}", "--resume", code=EVALUATION))[::2] == ([0], "")
    assert (out / "flags.npz").read_bytes() == (evaluated / "attack" / "flags.npz").read_bytes()
