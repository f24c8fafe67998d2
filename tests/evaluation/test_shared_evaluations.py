"""Several processes share an evaluation as one would have it, end together, and one of them can go on."""

import json
import signal

import pytest
from process_pair import ended, pair, started
from threads_as_processes import together

from dsrna_jax.runtime import records
from dsrna_jax.runtime.processes import current


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
    "verify": ("--checkpoint=RUN", "--examples=10", "--radius=0.1"),
}


def answers(folder):
    """The records without their times, in an order of their own."""
    every = records.rows(folder / "batches.jsonl")
    return sorted(json.dumps({name: value for name, value in row.items() if name != "seconds"}) for row in every)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The folder of an attack, a certification and a verification in one process, never interrupted, each in its own."""
    folder = tmp_path_factory.mktemp("evaluated")
    for command, flags in EVALUATIONS.items():
        assert ended(started(command, *flags, f"--out={folder / command}", code=EVALUATION))[::2] == ([0], "")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "file"), [("attack", "flags.npz"), ("certify", "radii.npz"), ("verify", "counterexamples.npz")]
)
def test_an_evaluation_of_two_processes_has_the_records_of_one(evaluated, tmp_path, command, file):
    statuses, out, err = pair(tmp_path / "out", *EVALUATIONS[command], command=command, code=EVALUATION)
    assert (statuses, err) == ([0, 0], "") and out.count("1 cpu device in each of 2 processes") == 1 == out.count("next: ")
    assert (tmp_path / "out" / file).read_bytes() == (evaluated / command / file).read_bytes()
    assert answers(tmp_path / "out") == answers(evaluated / command)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "faulty"), [(signal.SIGTERM, 1), (signal.SIGKILL, 0)])
def test_an_attack_of_two_processes_ends_in_both_and_goes_on_in_one(evaluated, tmp_path, number, faulty):
    out, arguments = tmp_path / "out", EVALUATIONS["attack"]
    faults = [{"FAULT": str(int(number))} if index == faulty else {} for index in range(2)]
    statuses, _, err = pair(out, *arguments, command="attack", faults=faults, code=EVALUATION)
    if number == signal.SIGKILL:
        assert statuses == [-signal.SIGKILL if index == faulty else 1 for index in range(2)]
        assert len([line for line in err.splitlines() if line.startswith(f"error: process {faulty}") and "is lost" in line]) == 1
    else:
        assert statuses == [143, 143] and err.count("\n") == 1 and "stopped by SIGTERM; every batch so far is kept in" in err
        assert err.startswith("process 1 of 2 on ")
    assert not (out / "attack.json").exists()
    assert ended(started("attack", *arguments, f"--out={out}", "--resume", code=EVALUATION))[::2] == ([0], "")
    assert (out / "flags.npz").read_bytes() == (evaluated / "attack" / "flags.npz").read_bytes()
