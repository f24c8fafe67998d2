"""The command: flags override presets, bad input ends in one line, and a killed run goes on to the same end."""

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from smoke_run import FEW, assert_same_end

from dsrna_jax import genotypes
from dsrna_jax.bounds.explanation import memory_of_device
from dsrna_jax.commands import search, train
from dsrna_jax.commands.flags import config_flags, define, parse, typed
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.commands.process import status
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.data.published import TRAINING_IMAGES, published_training_split
from dsrna_jax.networks import network, spaces
from dsrna_jax.search.config import SearchConfig
from dsrna_jax.search.folder import TRAINED_BY_PRESET, SearchFolder, training_flags

COMMAND = [sys.executable, "-m", "experiments.search"]
ROOT = Path(__file__).parents[2]


def started(*arguments, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, *map(str, arguments)], cwd=ROOT, **pipes, **options)


def finished(*arguments):
    process = started(*arguments)
    out, err = process.communicate(timeout=600)
    return process.returncode, out, err


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def typed_values(*arguments, default=PRESETS["smoke"]):
    values = config_flags(default)
    parse(values, ["search", *arguments])
    return typed(values, default)


def test_only_flags_that_are_typed_override():
    assert typed_values() == {}
    given = typed_values("--cells=7", "--flip", "--gamma", "0.5", "--dataset=cifar10", "--seed=0", "--order=first")
    assert given == {"cells": 7, "flip": True, "gamma": 0.5, "dataset": "cifar10", "seed": 0, "order": "first"}
    assert typed_values("--noflip") == {"flip": False}


def test_every_field_has_a_flag_with_its_default():
    default = PRESETS["digits_dsrna_jacobian"]
    values = config_flags(default)
    assert {field.name: values[field.name].default for field in dataclasses.fields(default)} == vars(default)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_differ_from_each_other_in_what_they_say(name):
    same = [other for other, config in PRESETS.items() if config == PRESETS[name]]
    assert same == [name]


@pytest.mark.parametrize(
    ("name", "count"), [("darts_first", 1_930_618), ("pcdarts", 299_578), ("cifar10_dsrna_jacobian", 299_578)]
)
def test_published_presets_have_the_published_size(name, count):
    config = PRESETS[name]
    sizes = {"nodes": config.nodes, "cells": config.cells, "channels": config.channels, "classes": 10}
    supernet = spaces.supernet(config.space, **sizes, mean=(0.5,) * 3, std=(0.25,) * 3)
    assert network.weight_count(supernet, (32, 32, 3)) == count


def test_dry_run_shows_all_and_trains_nothing(tmp_path, capsys):
    flags = ["--preset=smoke", "--dry_run", f"--run_dir={tmp_path / 'run'}", "--gamma=0.25"]
    assert status(search.main, ["search", *flags]) == 0
    out = capsys.readouterr().out
    resolved, end = json.JSONDecoder().raw_decode(out)
    assert resolved["config"] == vars(PRESETS["smoke"]) | {"gamma": 0.25}
    assert resolved["data"]["image_shape"] == [8, 8, 1] and len(resolved["data"]["mean"]) == 1
    assert "weights: 6,282\n" in out[end:] and out[end:].count(" MB") == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_dry_run_measures_every_program_of_the_search_on_demand(tmp_path, capsys):
    assert status(search.main, ["search", "--preset=smoke", "--dry_run", "--measure", f"--run_dir={tmp_path / 'run'}"]) == 0
    calls = dict(re.findall(r"^  (.+): \S+ s, (\d+) calls$", capsys.readouterr().out, re.MULTILINE))
    assert calls == {"weight step": "15", "evaluate": "18", "alpha step": "10"}  # 5 in each of 3 epochs, one of warm-up
    assert not (tmp_path / "run").exists()
    assert status(search.main, ["search", "--preset=smoke", "--measure"]) == 1
    assert "measure goes with --dry_run" in capsys.readouterr().err


def test_dry_run_needs_no_data(tmp_path, capsys):
    small = ["--cells=3", "--nodes=1", f"--operations={FEW}"]  # the whole is traced
    assert status(search.main, ["search", "--preset=darts_first", *small, f"--data_dir={tmp_path}", "--dry_run"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^weights: [\d,]+$", out, re.MULTILINE) and f"not in data_dir {tmp_path}" in out
    assert "steps: 390 in each of 50 epochs" in out and out.count(" MB\n") == 3


def test_published_splits_have_the_shape_that_tfds_defines():
    for name, count in TRAINING_IMAGES.items():
        dataset = published_training_split(name, 24)
        assert len(dataset) == count and dataset.image_shape[:2] == (24, 24) and dataset.labels.max() == dataset.classes - 1
        assert not any(dataset.images.strides)  # takes no memory
    assert published_training_split("oxford_flowers102") is None


def test_dry_run_says_whether_data_will_be_streamed_and_warns_if_they_will_not_be_loaded(tmp_path, capsys):
    small = ["--cells=3", "--nodes=1", f"--operations={FEW}"]
    flags = ["--dataset=imagenet2012", "--image_size=224", *small, f"--data_dir={tmp_path}", "--dry_run"]
    assert status(search.main, ["search", *flags]) == 0
    out = capsys.readouterr().out
    assert "images are streamed: 179.6 GiB are more than the 8 GiB that are held in memory" in out and "GiB of memory" not in out
    assert status(search.main, ["search", *flags, "--loading=memory"]) == 0
    out = capsys.readouterr().out
    assert "steps: 10009 in each of 15 epochs" in out
    assert [line.split(":")[0] for line in out.splitlines()[-2:]] == ["WARN", "WARN"]
    assert "needs 179.6 GiB of memory" in out.splitlines()[-1]


@pytest.mark.parametrize("metric", ["certified", "jacobian"])
def test_dry_run_prints_all_that_can_be_known_when_memory_is_short(capsys, metric):
    with memory_of_device(1_000_000):
        assert status(search.main, ["search", "--preset=smoke", "--dry_run", "--measure", f"--metric={metric}"]) == 0
    out = capsys.readouterr().out
    assert "weights: 6,282\n" in out and "weight step: " in out and "alpha step: " in out
    *warnings, unmeasured = [line for line in out.splitlines() if line.startswith("WARN")]
    assert "1.0 MB are free" in warnings[-1] and "give a smaller batch_size" in warnings[-1] and "not measured" in unmeasured
    assert (len(warnings) == 2 and "alpha step cannot run here" in warnings[0]) == (metric == "certified")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_command_lines_at_the_end_of_a_search_do_what_they_say(preset, tmp_path):
    """They train the cells on the data of the search, and repeat it with the next seed, in folders of their own."""
    run_dir = tmp_path / "a run's $folder"
    config = dataclasses.replace(PRESETS[preset], seed=3, flip=not PRESETS[preset].flip, data_dir="da ta")
    folder = SearchFolder(run_dir)
    data = {"examples": 8, "image_shape": [8, 8, 1], "class_names": ["a", "b"], "mean": [0.5], "std": [0.2]}
    folder.claim({"experiment": "search", "config": dataclasses.asdict(config), "data": data})
    cell = (("sep_conv_3x3", 0), ("skip_connect", 1))
    folder.write_genotype(genotypes.Genotype(cell, (2,), cell, (2,)))
    values = flags_of_command(search.COMMAND, [])
    train_line, search_line = search.COMMAND.report(genotypes.load(run_dir / "genotype.json"), run_dir, values).splitlines()[-2:]
    command, _, arguments = train_line.partition(" train ")
    assert command.strip() in ("dsrna_jax", "python -m dsrna_jax")
    training, _ = train.COMMAND.settings(flags_of_command(train.COMMAND, shlex.split(arguments)))
    assert (training.dataset, training.data_dir, training.genotype) == (config.dataset, "da ta", str(run_dir))
    assert folder.next_commands == [train_line.strip()] and training.image_size == config.image_size
    if config.cell_free or config.space == "proxyless":  # codes for each cell, and blocks, fit their own depth alone
        assert training.cells == config.cells
    again, folder = search.COMMAND.settings(flags_of_command(search.COMMAND, shlex.split(search_line.partition(" search ")[2])))
    assert (again, folder) == (dataclasses.replace(config, seed=4), tmp_path / "a run's $folder_seed4")


@pytest.mark.parametrize(
    ("epochs", "pictures", "is_said"), [(1, ["alphas.png"], True), (2, ["alphas.png"], False), (1, [], False)]
)
def test_a_search_whose_alphas_never_moved_ends_with_a_warning(tmp_path, epochs, pictures, is_said):
    folder = SearchFolder(tmp_path / "run")
    config = dataclasses.replace(PRESETS["smoke"], epochs=epochs, warmup_epochs=1)
    data = {"examples": 8, "image_shape": [8, 8, 1], "class_names": ["a", "b"], "mean": [0.5], "std": [0.2]}
    folder.claim({"experiment": "search", "config": dataclasses.asdict(config), "data": data})
    cell = (("sep_conv_3x3", 0), ("skip_connect", 1))
    for name in pictures:
        (tmp_path / "run" / name).touch()
    genotype = genotypes.Genotype(cell, (2,), cell, (2,))
    folder.write_genotype(genotype)
    said = search.COMMAND.report(genotype, tmp_path / "run", flags_of_command(search.COMMAND, []))
    assert ("WARN: the alphas never moved (warmup_epochs=1 of epochs=1)" in said) == is_said


def flags_of_command(command, arguments):
    values = config_flags(command.defaults)
    for name, flag in command.own.items():
        define(values, name, flag.default, flag.text, flag.choices)
    define(values, "resume", False, "")
    parse(values, [command.name, *arguments], command.defaults)
    return values


@pytest.fixture
def folders(tmp_path):
    """Folders of images that cannot be used, each in its own way."""
    for name in ("empty", "lone/cat", "broken/cat", "broken/dog"):
        (tmp_path / name).mkdir(parents=True)
    for kind in ("lone/cat", "broken/cat", "broken/dog"):
        for index in range(4):
            Image.fromarray(np.full((8, 8), 40 * index, np.uint8)).save(tmp_path / kind / f"{index}.png")
    for file in (tmp_path / "broken/dog").iterdir():
        file.write_bytes(b"no image")
    (tmp_path / "file").write_text("no folder")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--cels=3"], "cels"),
        (["--cells=many"], "cells=many"),
        (["--cells=2"], "cells=2: expected at least 3"),
        (["--order=third"], "<first|unrolled|unrolled_fd>"),
        (["--preset=imagenet"], "<digits_dsrna_jacobian|digits_dsrna_cb|cifar10"),
        (
            ["--jacobian_norm=row_l1", "--jacobian_method=sphere"],
            "jacobian_method='sphere' cannot estimate jacobian_norm='row_l1': expected one of fro_squared",
        ),
        (["cifar10"], "unexpected argument 'cifar10'"),
        (["--dataset=cifar11"], "unknown data set 'cifar11' (did you mean cifar10"),
        (["--dataset=mnist", "--data_dir={0}"], "preparing sets such as MNIST and CIFAR-10 needs"),
        (["--dataset=folder:{0}/empty"], "two or more sub-folders"),
        (["--dataset=folder:{0}/lone"], "only cat"),
        (["--dataset=folder:{0}/broken"], "cannot read the image"),
        (["--batch_size=5000"], "batch_size=5000: expected at most"),
        (["--image_size=2"], "2x2 pixels: expected at least 4x4"),
        (["--channels=6"], "channels must be a multiple of 8"),
        (["--devices=99"], "devices=99"),
        (["--run_dir={0}/file"], "is a file"),
        (["--run_dir={0}/empty", "--resume"], "no run to resume"),
        (["--run_dir={1}"], "already holds a run: give --resume"),
        (["--run_dir={1}", "--resume", "--gamma=3"], "gamma: 0.01 -> 3.0"),
        (["--run_dir={1}", "--resume", "--preset=smoke", "--seed=2"], "seed: 0 -> 2"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_ends_in_one_line(folders, smoke_run, capsys, arguments, expected):
    arguments = [argument.format(folders, smoke_run[0]) for argument in arguments]
    if not any(argument.startswith("--run_dir") for argument in arguments):
        arguments.append(f"--run_dir={folders / 'run'}")
    assert status(search.main, ["search", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert expected in err
    assert not (folders / "run").exists()


def test_an_unknown_flag_ends_the_command_in_one_line():
    code, out, err = finished("--cels=3")
    assert (code, out, err.count("\n")) == (1, "", 1) and "cels" in err


def test_help_names_every_flag():
    code, out, err = finished("--help")
    assert (code, err) == (0, "")
    for name in (*vars(PRESETS["smoke"]), "preset", "run_dir", "resume", "dry_run", "devices"):
        assert f"{name}:" in out.replace("[no]", ""), name


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "No space left"),
        (FloatingPointError("loss is nan\nat step 3"), "nan at step 3"),
        (RuntimeError("RESOURCE_EXHAUSTED: 3 GiB"), "out of device memory"),
        (ModuleNotFoundError("No module named 'flax'", name="flax"), "pip install 'dsrna_jax[search]'"),
    ],
)
def test_errors_a_person_can_mend_are_one_line(capsys, error, line):
    def main(argv):
        raise error

    assert status(main, []) == 1
    err = capsys.readouterr().err
    assert line in err and err.count("\n") == 1


@pytest.mark.parametrize("defect", [RuntimeError("a defect"), ModuleNotFoundError("a defect", name="dsrna_jax.absent")])
def test_defects_keep_their_traceback(defect):
    def main(argv):
        raise defect

    with pytest.raises(type(defect), match="a defect"):
        status(main, [])


def test_importing_changes_nothing(tmp_path):
    code = (
        "import os, sys, signal; before = dict(os.environ)\n"
        "from dsrna_jax.commands import process, flags, presets, search\n"
        "from dsrna_jax.runtime import memory\nfrom dsrna_jax.search import run\n"
        "from absl.flags import FLAGS; import jax\n"
        "assert 'cells' not in FLAGS and dict(os.environ) == before and not os.listdir('.')\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert not any(name in sys.modules for name in ('tensorflow_datasets', 'sklearn', 'matplotlib'))\n"
        "jax.config.update('jax_platforms', 'nowhere')\n"  # too late if a device had been touched
        "try:\n    jax.devices()\nexcept RuntimeError:\n    print('untouched')\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "untouched\n", done.stderr


@pytest.mark.slow
def test_killed_and_resumed_equals_unbroken(tmp_path):
    resumed, unbroken = tmp_path / "resumed", tmp_path / "unbroken"
    killed = started("--preset=smoke", f"--run_dir={resumed}", "--devices=1")
    wait_for(resumed / "checkpoints" / "5", killed)
    killed.kill()
    killed.communicate()
    code, out, err = finished(f"--run_dir={resumed}", "--resume", "--devices=1")
    assert (code, err) == (0, "")
    assert "resuming after step" in out and "normal cell:" in out and str(resumed) in out
    assert finished("--preset=smoke", f"--run_dir={unbroken}", "--devices=1")[::2] == (0, "")
    assert_same_end(resumed, unbroken)


@pytest.mark.slow
def test_stopping_says_how_to_go_on(tmp_path):
    stopped = started("--preset=smoke", f"--run_dir={tmp_path}", "--devices=1")
    wait_for(tmp_path / "checkpoints" / "5", stopped)
    stopped.send_signal(signal.SIGTERM)
    _, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 128 + signal.SIGTERM
    again = f"python -m experiments.search --preset=smoke --run_dir={tmp_path} --devices=1 --resume"
    assert err.count("\n") == 1 and "which is saved" in err and err.endswith(f"go on by {again}\n")


def test_the_next_command_takes_the_preset_of_the_data_if_there_is_one():
    called = {name for name, preset in TRAINING_PRESETS.items() if preset.dataset == name}
    assert called == {*TRAINED_BY_PRESET, "digits"}
    assert training_flags(PRESETS["cifar10_dsrna_cb"]) == ["--preset=cifar10"] and training_flags(SearchConfig()) == []
    assert training_flags(SearchConfig(start="cifar_halved")) == ["--start=cifar_halved"]
    assert training_flags(SearchConfig(start="imagenet_wide")) == ["--start=imagenet"]
