"""Several processes share a run as one would have it, and end together, with one line, whatever befalls one of them."""

import json
import os
import signal

import numpy as np
import pytest
from process_pair import ended, of_slurm, pair, port, started

from dsrna_jax.runtime.checkpoint import restore_for_eval


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
    assert "error" not in err
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
