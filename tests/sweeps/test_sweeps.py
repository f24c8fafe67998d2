"""Sweeps: grids of flags, jobs that fail, stop and are lost, and the three places where they run."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from smoke_run import FEW

from dsrna_jax.commands import sweep as command
from dsrna_jax.commands.process import status
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.sweeps import jobs, worker
from dsrna_jax.sweeps.engines import Local, shares_of_cores, visible_gpus
from dsrna_jax.sweeps.run import run
from dsrna_jax.sweeps.table import table
from dsrna_jax.sweeps.worker import JobState

QUICK = ["train", "--genotype=list"]  # prints the published cells, and ends


def test_flags_that_are_given_several_times_span_a_grid():
    made = jobs.grid("search", ["--gamma=0", "--seed=1", "--flip", "--gamma=0.1", "--noflip", "--order=first"])
    assert [job.flags for job in made] == [
        (f"--gamma={gamma}", "--seed=1", flip, "--order=first") for gamma in ("0", "0.1") for flip in ("--flip", "--noflip")
    ]
    assert [job.name for job in made][:2] == ["search_gamma=0_flip", "search_gamma=0_noflip"]
    (one,) = jobs.grid("train", ["--seed=1"])
    assert one.name == "train" and one.arguments(jobs.Path("s")) == ["train", "--seed=1", "--run_dir=s/train"]


def test_every_job_has_a_name_of_its_own_that_is_a_file_name():
    long = [["train", f"--genotype={'x' * 300}/{end}", "--genotype=a/../b [c]"] for end in "ab"]
    made = jobs.jobs_of([long[0], ["train", "--seed=1"], ["train", "--seed=2"], [*long[1], "--seed=3"]])
    names = [job.name for job in made]
    assert len(set(names)) == len(made) == 6
    assert all(len(name) < 200 and not set(name) & set("/\\[] ") for name in names)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([["compare", "runs/a"]], "a sweep cannot run 'compare': expected one of search, train, attack, certify"),
        ([["trian"]], "a sweep cannot run 'trian' (did you mean train?): expected one of"),
        ([["train", "runs/a"]], "unexpected argument 'runs/a' of train: expected --NAME=VALUE"),
        ([["train", "--seed=1", "--seed=1"]], "train has --seed=1 twice"),
        ([["train", "--seed=1"], ["train", "--seed=1"]], "a sweep has `train --seed=1` twice"),
        ([["train", "--run_dir=x"]], "--run_dir of train is not for a sweep"),
        ([["attack", "--resume"]], "--resume of attack is not for a sweep"),
        ([], "a sweep of no commands"),
    ],
)
def test_jobs_that_make_no_sense_are_refused(lines, expected):
    with pytest.raises(InputError) as caught:
        jobs.jobs_of(lines)
    assert str(caught.value).startswith(expected) and "\n" not in str(caught.value)


def test_a_file_has_a_command_in_each_line(tmp_path):
    file = tmp_path / "commands"
    file.write_text("# cells\ndsrna_jax train --genotype='a b' --seed=0 --seed=1  # two\n\nsearch\n")
    assert jobs.lines_of(str(file)) == [["train", "--genotype=a b", "--seed=0", "--seed=1"], ["search"]]
    file.write_text("train\ntrain --genotype='a\n")
    with pytest.raises(InputError, match="line 2: No closing quotation"):
        jobs.lines_of(str(file))


def test_a_sweep_grows_and_keeps_the_flags_of_its_jobs(tmp_path):
    first, second = jobs.grid("train", ["--seed=0", "--seed=1"]), jobs.grid("train", ["--seed=1", "--seed=2"])
    jobs.keep(first, tmp_path)
    assert jobs.keep(second, tmp_path) == jobs.kept(tmp_path) == [*first, second[1]]
    with pytest.raises(InputError, match="holds the job train_seed=1 with other flags"):
        jobs.keep(jobs.grid("train", ["--epochs=2", "--seed=1", "--seed=2"]), tmp_path)


def test_commands_that_join_a_sweep_get_names_of_their_own_and_known_ones_keep_theirs(tmp_path, capsys):
    def names(*arguments):
        assert run_command(f"--run_dir={tmp_path}", "--dry_run", *arguments) == 0
        return [line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()]

    jobs.keep(jobs.jobs_of([["train", "--lr=0.1", "--seed=1"], ["search", "--seed=0", "--seed=1"]]), tmp_path)
    assert names("train", "--lr=0.2") == ["train_2"] and names("train", "--seed=1", "--lr=0.1") == ["train"]
    assert names("search", "--seed=1", "--seed=2") == ["search_seed=1", "search_seed=2"]
    assert names("search", "--seed=1", "--seed=2", "--cells=3") == ["search_seed=1_2", "search_seed=2"]
    jobs.keep(jobs.jobs_of([["train", "--lr=0.2"]], jobs.kept(tmp_path)), tmp_path)
    (tmp_path / "more").write_text("train --lr=0.3\ntrain --lr=0.2\ntrain --lr=0.4\n")
    assert names(tmp_path / "more") == ["train_3", "train_2", "train_4"]


class Scripted:
    """An engine whose jobs end at once, in the states of a script; None for a process that is lost."""

    def __init__(self, script, capacity=2):
        self.script, self.capacity, self.alive, self.most, self.cancelled = script, capacity, 0, 0, []

    def submit(self, sweep, name):
        before = worker.state_of(sweep, name)
        state = self.script[name].pop(0)
        worker.record(
            sweep,
            name,
            before._replace(state="running" if state in (None, "endless") else state, attempts=before.attempts + 1, message="m"),
        )
        self.alive += 1
        self.most = max(self.most, self.alive)
        engine = self

        class Handle:
            looks = 0

            def is_done(self):
                self.looks += 1
                if self.looks < 2 or state == "endless" and name not in engine.cancelled:
                    return False
                engine.alive -= 1
                if state == "endless":
                    worker.record(sweep, name, worker.state_of(sweep, name)._replace(state="stopped"))
                return True

            def cancel(self):
                engine.cancelled.append(name)

        return Handle()


@pytest.fixture
def three(tmp_path, monkeypatch):
    monkeypatch.setattr("dsrna_jax.sweeps.run._PATIENCE", 0.0)
    return jobs.keep(jobs.grid("train", [f"--seed={seed}" for seed in "abc"]), tmp_path)


def test_what_fails_or_is_lost_is_started_again_and_what_is_done_is_not(three, tmp_path, capsys):
    engine = Scripted({"train_seed=a": ["done"], "train_seed=b": [None, "done"], "train_seed=c": ["failed", "failed"]})
    ended = []
    swept = run(
        three, tmp_path, engine, retries=1, ended=lambda name: ended.append((name, worker.state_of(tmp_path, name).state))
    )
    ends = [("a", "done"), ("b", "done"), ("b", "failed"), ("c", "failed"), ("c", "failed")]
    assert sorted(ended) == [(f"train_seed={seed}", end) for seed, end in ends]
    assert swept.failed == ["train_seed=c"] and engine.most == 2
    assert [swept.jobs[job.name].attempts for job in three] == [1, 2, 2]
    said = capsys.readouterr().out
    assert "train_seed=b failed (its process on  was lost" in said and said.count("and is started again") == 2
    again = Scripted({"train_seed=c": ["done"]})
    assert run(three, tmp_path, again).failed == [] and again.script == {"train_seed=c": []}


def test_a_signal_ends_the_jobs_and_starts_no_other(three, tmp_path):
    engine = Scripted({job.name: ["endless"] for job in three})
    threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(Stopped, match="stopped by SIGTERM with 0 of 3 jobs done"):
        run(three, tmp_path, engine)
    assert sorted(engine.cancelled) == ["train_seed=a", "train_seed=b"]
    assert [worker.state_of(tmp_path, job.name).state for job in three] == ["stopped", "stopped", "waiting"]


def run_command(*arguments):
    return status(command.main, ["sweep", *map(str, arguments)])


def test_a_sweep_on_this_machine_ends_with_a_table(tmp_path, capsys):
    sweep = tmp_path / "s"
    assert run_command(f"--run_dir={sweep}", "--at_once=2", *QUICK, "--seed=0", "--seed=1") == 0
    out = capsys.readouterr().out
    assert [line.split()[:3] for line in out.splitlines() if line.startswith("train_seed=")][-2:] == [
        ["train_seed=0", "done", "1"],
        ["train_seed=1", "done", "1"],
    ]
    assert "PC_DARTS_cifar" in worker.log_file(sweep, "train_seed=0").read_text()
    assert run_command(f"--run_dir={sweep}") == 0 and "0 of 2 jobs to do" in capsys.readouterr().out
    assert run_command(f"--run_dir={sweep}", "--status") == 0 and capsys.readouterr().out.count("done") == 2


def test_the_time_of_a_job_is_that_of_all_its_starts(tmp_path, monkeypatch):
    (job,) = jobs.keep(jobs.grid("train", []), tmp_path)
    times = iter([100.0, 160.0, 1000.0, 1030.0, 5000.0, 5005.0])
    monkeypatch.setattr(worker, "_status", lambda job, sweep: 0)
    monkeypatch.setattr(worker.time, "time", lambda: next(times))
    for _ in range(3):
        worker.run_job(tmp_path, job.name)
    monkeypatch.undo()
    assert worker.state_of(tmp_path, job.name).seconds(time.time()) == 95 and "0:01:35" in table([job], tmp_path)
    worker.record(tmp_path, job.name, JobState("running", 2, time.time() - 20, spent=100.0))
    assert "0:02:0" in table([job], tmp_path)


def test_the_record_of_an_earlier_version_is_read(tmp_path):
    state = JobState("done", 1, 3.0, 5.0)._asdict()
    del state["spent"]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "train.json").write_text(json.dumps(state))
    assert worker.state_of(tmp_path, "train").seconds(9.0) == 2


def test_a_job_that_fails_is_named_with_its_last_line(tmp_path, capsys):
    assert run_command(f"--run_dir={tmp_path / 's'}", "--retries=0", "attack", f"--checkpoint={tmp_path / 'none'}") == 1
    out, err = capsys.readouterr()
    assert "attack failed (error: " in out and err.startswith("error: 1 of 1 jobs are not done (attack): try them again by ")
    assert err.count("\n") == 1


def test_dry_run_shows_the_commands_and_makes_nothing(tmp_path, capsys):
    assert run_command(f"--run_dir={tmp_path / 's'}", "--dry_run", *QUICK, "--seed=0", "--seed=1") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"dsrna_jax train --genotype=list --seed=0 --run_dir={tmp_path / 's'}/train_seed=0" and "seed=1" in second
    assert not list(tmp_path.iterdir())


def test_a_genotype_that_a_job_will_write_and_data_of_another_machine_are_known(tmp_path, capsys):
    sweep, file = tmp_path / "s", tmp_path / "commands"
    file.write_text(f"search --preset=smoke\ntrain --genotype={sweep}/search\ntrain --genotype=random:3 --dataset=mnist[:9%]\n")
    assert run_command(f"--run_dir={sweep}", "--dry_run", file) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--at_once=-1", *QUICK], "at_once=-1: expected a number in [0, 4096]"),
        (["--engine=moon", *QUICK], "flag --engine=moon: value should be one of <local|slurm|ray>"),
        (["train", "--sede=1"], "train --sede=1: Unknown command line flag 'sede'"),
        (["train", "--epochs=0"], "train --epochs=0: epochs=0: expected at least 1"),
        (["train", "--genotype=PC_DART_cifar"], "genotype='PC_DART_cifar' is neither a run folder nor a .json"),
        (["train", "--genotype=runs/none/genotype.json"], "train --genotype=runs/none/genotype.json: "),
        (["train", "--dataset=cifar11"], "train --dataset=cifar11: unknown data set 'cifar11' (did you mean cifar10"),
        (["search", "--dataset=nosuchset"], "unknown data set 'nosuchset'"),
        (["attack"], "attack: expected --checkpoint=RUN"),
        (["train", "--coordinator_address=auto"], "each job of a sweep is one process"),
        (["tarin", "--seed=1"], "unexpected argument '--seed=1' after the file 'tarin' (did you mean train?): flags"),
        (["serach"], "cannot read the commands of a sweep in 'serach' (did you mean search?): No such file or directory"),
        (["no such file"], "cannot read the commands of a sweep in 'no such file': No such file or directory"),
        ([], "no sweep in"),
        (["--engine=ray", "--ray_address=127.0.0.1:1", *QUICK], "no cluster answers there (Connection refused): start it"),
        (["--engine=slurm", "--slurm_options=a", *QUICK], "slurm_options=a: expected NAME=VALUE,NAME=VALUE"),
        (["--engine=slurm", f"--slurm_options={'a=bb' * 30},,", *QUICK], "expected NAME=VALUE,NAME=VALUE"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, capsys, arguments, expected):
    assert run_command(f"--run_dir={tmp_path / 's'}", *arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and expected in err and err.count("\n") == 1 and "Traceback" not in err


def test_each_gpu_gets_a_job_that_sees_it_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    seen = []

    class Popen:
        def __init__(self, arguments, env, stdin):
            seen.append(env["CUDA_VISIBLE_DEVICES"])

        def poll(self):
            return None if len(seen) < 3 else 0

    monkeypatch.setattr(subprocess, "Popen", Popen)
    engine = Local()
    assert visible_gpus() == ["2", "5"] and engine.capacity == 2
    for name in "ab":
        engine.submit(tmp_path, name)
    assert seen == ["2", "5"]
    assert [Local(at_once=3)._seen[slot] for slot in range(3)] == ["2", "5", "2"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6])
def test_processes_that_run_at_once_divide_the_cores(count, monkeypatch):
    cores = {1, 3, 5, 7, 8}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    shares = shares_of_cores(count)
    if count > len(cores):
        assert shares == [None] * count
    else:
        assert sorted(core for share in shares for core in share) == sorted(cores)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_job_has_its_share_of_the_cores_and_the_sweep_keeps_all(tmp_path, monkeypatch):
    """On four cores, whatever this machine has, and a process of the suite has of them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    now, had = {0, 1, 2, 3}, []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(now))
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: (now.clear(), now.update(cores)))

    class Popen:
        def __init__(self, *_, **__):
            had.append(set(now))

        def poll(self):
            return None

    monkeypatch.setattr(subprocess, "Popen", Popen)
    engine = Local(at_once=2)
    for name in "ab":
        engine.submit(tmp_path, name)
    assert had == [{0, 2}, {1, 3}] and now == {0, 1, 2, 3}


def test_submitit_runs_jobs_that_save_what_they_did(tmp_path, capsys):
    options = ["--engine=slurm", "--slurm_cluster=local", "--slurm_options=timeout_min=5"]
    assert run_command(f"--run_dir={tmp_path / 's'}", *options, *QUICK, "--seed=0", "--seed=1") == 0
    assert capsys.readouterr().out.count(" done ") >= 2
    assert run_command(f"--run_dir={tmp_path / 't'}", *options[:2], "--slurm_options=colour=1", *QUICK) == 1
    assert "slurm_options: " in capsys.readouterr().err


@pytest.mark.slow
def test_two_nodes_of_a_ray_cluster_run_jobs(tmp_path, capsys):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        options = ["--engine=ray", f"--ray_address={cluster.address}"]
        assert run_command(f"--run_dir={tmp_path / 's'}", *options, *QUICK, "--seed=0", "--seed=1", "--seed=2") == 0
        assert capsys.readouterr().out.count(" done ") >= 3
        assert run_command(f"--run_dir={tmp_path / 's'}", *options, "--gpus=1", *QUICK) == 1
        assert "a job takes 1 GPUs, but the Ray cluster has 0" in capsys.readouterr().err
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_that_is_stopped_or_killed_goes_on_where_its_jobs_were(number, tmp_path):
    sweep = tmp_path / "s"
    line = [sys.executable, "-m", "dsrna_jax", "sweep", f"--run_dir={sweep}"]
    small = ["search", "--preset=smoke", "--metric=none", f"--operations={FEW}", "--epochs=40"]
    process = subprocess.Popen([*line, *small], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    records = sweep / "search" / "metrics.jsonl"
    while not (records.exists() and records.read_text()):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=600)
    if number == signal.SIGINT:
        assert process.returncode == 130 and "go on by dsrna_jax sweep" in err.replace("python -m dsrna_jax", "dsrna_jax"), out
        assert worker.state_of(sweep, "search").state == "stopped"
    subprocess.run(line, check=True, capture_output=True)
    assert "resuming after step" in worker.log_file(sweep, "search").read_text()
    done = worker.state_of(sweep, "search")
    assert done.state == "done" and done.attempts == 2
    assert len(records.read_text().splitlines()) == 40 and [json.loads(row)["epoch"] for row in records.open()] == [*range(1, 41)]


def test_a_garbled_record_of_a_job_is_named(tmp_path):
    worker.record(tmp_path, "a", JobState(state="done"))
    assert worker.state_of(tmp_path, "a").state == "done"
    (tmp_path / "jobs" / "a.json").write_text('{"state": "odd"}')
    with pytest.raises(InputError, match="a.json: .*state"):
        worker.state_of(tmp_path, "a")
