"""Processes that join: where one does not fit, or does not come, each says so in one line, and nothing is left."""

import pytest
import tiny_run
from process_pair import ended, of_slurm, pair, port, started

from dsrna_jax.commands.command import run_command
from dsrna_jax.commands.process import status
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.joining import _parsed


@pytest.mark.parametrize(
    ("own", "faults", "said"),
    [
        (((), ("--seed=1",)), ({}, {}), r"process 1 has another command than process 0 (seed: 0 -> 1)"),
        pytest.param(
            ((), ()),
            ({}, {"FAULT": "data"}),
            "process 1 has another configuration or data set than process 0 (data labels: ",
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
    """Two that wait for a third, and, at the same time, one at an address where nobody is."""
    common = (f"--run_dir={tmp_path / 'run'}", "--num_processes=3", "--join_timeout=4")
    here, elsewhere = (f"--coordinator_address=127.0.0.1:{port()}" for _ in range(2))
    waiting = [started(*common, here, f"--process_id={i}") for i in (0, 2)]
    alone = started(*common, elsewhere, "--process_id=1")
    statuses, _, err = ended(*waiting)
    assert statuses == [1, 1] and err.count("\n") == 1 and "process 1 of 3 did not come within 4 s" in err
    statuses, _, err = ended(alone)
    assert statuses == [1] and err.count("\n") == 1 and "no process 0 answered there within 4 s" in err
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


@pytest.mark.parametrize("text", ["", "x", ":1", "x:", "x:0", "x:65536", "x:1.5", "x:-1"])
def test_an_address_has_a_host_and_a_port(text):
    with pytest.raises(InputError, match="expected HOST:PORT"):
        _parsed(text)


def test_an_address_of_either_kind_is_read():
    assert _parsed("10.0.0.1:80") == ("10.0.0.1", 80) and _parsed("[::1]:80") == ("::1", 80)


def test_a_process_of_a_cluster_that_waits_in_vain_says_so(tmp_path):
    flags = (f"--run_dir={tmp_path / 'run'}", "--coordinator_address=auto", "--join_timeout=2")
    statuses, _, err = ended(started(*flags, **of_slurm(1)))
    assert statuses == [1] and err.count("\n") == 1 and "not all processes of the cluster's job came within 2 s" in err
