"""--log: every row of metrics.jsonl is in the log once, at its step, however often the run is stopped."""

import importlib.util
import io
import json
import math
import struct

import pytest
from smoke_run import at_step
from tiny_run import TinyConfig, TinyLoop
from tiny_run import run as tiny_run

from dsrna_jax.commands import search, train
from dsrna_jax.errors import InputError
from dsrna_jax.runtime.epoch_log import EpochLog
from dsrna_jax.runtime.log_writers import BACKENDS, Backend, check_installed, log_names
from dsrna_jax.runtime.records import Records, rows

CONFIG = {"seed": 3, "data_dir": "", "dataset": "digits"}


def events_of(folder):
    """[(step, tag, value)] of the event files in a folder, and the texts, by their framing: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found, texts = [], []
    for file in sorted((folder / "tensorboard").iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                is_text = value.HasField("tensor")
                texts += [value.tensor.string_val[0].decode()] if is_text else []
                found += [] if is_text else [(event.step, value.tag, value.simple_value)]
    return found, "\n".join(texts)


def wandb_of(folder):
    """[(step, name, value)] of all offline files of a run, and its configuration: records as in LevelDB's log."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # returns when its service, which writes the files, has ended
    found, config, ids = [], {}, set()
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        data, at = file.read_bytes(), 7
        while at + 7 <= len(data):
            _, length, kind = struct.unpack_from("<IHB", data, at)
            assert kind == 1, "expected records of less than a block"
            record = Record.FromString(data[at + 7 : at + 7 + length])
            at += 7 + length
            if record.HasField("run"):
                ids.add(record.run.run_id)
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            items = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            found += [(items["_step"], name, value) for name, value in items.items() if not name.startswith("_")]
    assert len(ids) == 1, "the parts are one run"
    return found, json.dumps(config)


def mlflow_of(folder):
    """[(step, name, value)] of the run, and its parameters."""
    from mlflow import MlflowClient

    kept = json.loads((folder / "mlflow.json").read_text())
    client = MlflowClient(kept["store"])
    run = client.get_run(kept["id"])
    metrics = [metric for name in run.data.metrics for metric in client.get_metric_history(kept["id"], name)]
    return [(metric.step, metric.key, metric.value) for metric in metrics], json.dumps(run.data.params)


READERS = {"tensorboard": events_of, "wandb": wandb_of, "mlflow": mlflow_of}


def expected(folder):
    """[(step, name, value)] of the finite numbers in metrics.jsonl."""
    values = [
        (row["step"], name, value) for row in rows(folder / "metrics.jsonl") for name, value in row.items() if name != "step"
    ]
    return sorted((step, name, value) for step, name, value in values if isinstance(value, int | float))


def rounded(found):
    return sorted((step, name, float(f"{value:.6g}")) for step, name, value in found)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_log_holds_each_row_once_after_a_run_that_was_stopped(name, tmp_path, monkeypatch):
    pytest.importorskip(BACKENDS[name].module)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs.db")
    metrics, said = Records(tmp_path / "metrics.jsonl"), []
    for is_resumed, epochs in (False, (1, 2)), (True, (3, 4)):
        log = EpochLog([name], tmp_path, CONFIG, is_resumed, said.append)
        log.follow()
        for epoch in epochs:
            metrics.write({"epoch": epoch, "step": 10 * epoch, "loss": 1 / epoch, "nothing": None, "radius": math.nan, "by": [1]})
            log.follow()
        log.close()
        for file in [*tmp_path.glob("tensorboard/*")][: not is_resumed]:  # its name is of the second in which it was made
            file.rename(file.with_name("events.out.tfevents.1"))
    found, config = READERS[name](tmp_path)
    assert rounded(found) == rounded(expected(tmp_path)) and len(found) == 8
    assert "dataset" in config and "digits" in config
    assert len(said) == 2 and not any("WARN" in line for line in said)


class Memory:
    """A log in memory, whose server is down while `is_down`."""

    place, is_down, held = "memory", False, {}

    def __init__(self, folder, config, is_resumed):
        self.last_step = max(self.held, default=-1)

    def scalars(self, step, values):
        if self.is_down:
            raise ConnectionError("no route to host")
        assert step > self.last_step
        self.held[step], self.last_step = values, step

    def close(self):
        """Nothing: it stays in memory."""


@pytest.fixture
def memory(monkeypatch):
    monkeypatch.setattr(Memory, "held", {})
    monkeypatch.setattr(Memory, "is_down", False)
    monkeypatch.setitem(BACKENDS, "memory", Backend("json", Memory))
    return Memory


def test_a_log_that_fails_gets_the_missing_rows_when_it_works_again(memory, tmp_path):
    metrics, said = Records(tmp_path / "metrics.jsonl"), []
    log = EpochLog(["memory"], tmp_path, CONFIG, False, said.append)
    for epoch in range(1, 6):
        memory.is_down = epoch in (2, 3)
        metrics.write({"epoch": epoch, "step": epoch})
        log.follow()
    assert list(memory.held) == [1, 2, 3, 4, 5]
    assert [line for line in said if "WARN" in line and "no route to host" in line] == said[1:] and len(said) == 3


def test_a_run_that_is_stopped_and_resumed_logs_as_one_without_and_leaves_the_same_files(memory, tmp_path, monkeypatch):
    config, options = TinyConfig(epochs=3), {"devices": 1, "file": io.StringIO()}
    tiny_run(config, tmp_path / "without", **options)
    with monkeypatch.context() as patch:

        def fail(loop):
            raise OSError("the disk is full")

        at_step(patch, 20, fail, TinyLoop)
        with pytest.raises(OSError, match="disk is full"):
            tiny_run(config, tmp_path / "with", log=["memory"], **options)
    assert list(memory.held) == [15]
    tiny_run(config, tmp_path / "with", resume=True, log=["memory"], **options)
    assert list(memory.held) == [15, 30, 45]
    for name in ("config.json", "metrics.jsonl"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes(), name
    memory.held.clear()
    tiny_run(config, tmp_path / "without", resume=True, log=["memory"], **options)
    assert list(memory.held) == [15, 30, 45], "a log that comes late gets all epochs"
    assert memory.held[45] == {name: value for name, value in rows(tmp_path / "with/metrics.jsonl")[-1].items() if name != "step"}


def test_a_run_that_begins_anew_begins_a_new_log(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    ids = []
    for _ in range(2):
        EpochLog(["wandb"], tmp_path, CONFIG, False, lambda line: None).close()
        ids.append(json.loads((tmp_path / "wandb.json").read_text())["id"])
    assert ids[0] != ids[1]


@pytest.mark.parametrize("flags", [(), ("--dry_run",)])
@pytest.mark.parametrize("command", [search, train])
def test_an_unknown_log_is_refused_before_anything_starts(command, flags, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="log=board: expected tensorboard, wandb, mlflow"):
        command.main([command.__name__, "--preset=smoke", "--log=tensorboard,board", *flags])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", BACKENDS)
def test_a_missing_package_is_a_line_that_names_the_extra(name, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == BACKENDS[name].module else find(module))
    with pytest.raises(InputError, match=rf"pip install 'dsrna_jax\[{name}\]'"):
        tiny_run(TinyConfig(), tmp_path / "run", log=[name])
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_mere_folder_of_the_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "some_logs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(BACKENDS, "memory", Backend("some_logs", Memory))
    with pytest.raises(InputError, match="the package some_logs is missing"):
        check_installed(("memory",))


def test_a_log_that_cannot_be_opened_is_one_line(tmp_path, monkeypatch):
    def broken(folder, config, is_resumed):
        raise RuntimeError("no API key\n  configured")

    monkeypatch.setitem(BACKENDS, "memory", Backend("json", broken))
    with pytest.raises(InputError, match="log=memory cannot be opened: no API key configured"):
        EpochLog(["memory"], tmp_path, CONFIG, False, lambda line: None)


def test_names_are_separated_by_commas_and_count_once():
    assert log_names("") == () and log_names("mlflow, wandb,mlflow,") == ("mlflow", "wandb")
