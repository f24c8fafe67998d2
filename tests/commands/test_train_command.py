"""The command that trains: its presets, what a dry run shows, and what it refuses."""

import json

import pytest
from finished_runs import TINY

from dsrna_jax import genotypes
from dsrna_jax.commands import train
from dsrna_jax.commands.process import status
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.genotypes import zoo
from dsrna_jax.networks.derived import derived_network
from dsrna_jax.networks.multiplications import multiply_adds

MILLIONS = {  # multiply-adds with 20 cells and 36 channels for CIFAR-10, with 14 and 48 for ImageNet
    "NASNet": (603, 604),
    "AmoebaNet": (489, 527),
    "DARTS_V2": (528, 530),
    "PC_DARTS_cifar": (557, 571),
    "PDARTS": (532, 543),
    "SNAS": (422, 438),
    "PNAS": (706, 697),
    "SDARTS_RS": (562, 567),
}


@pytest.mark.parametrize("name", MILLIONS)
def test_a_network_has_as_many_multiply_adds_as_the_published_one(name):
    settings = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    cifar = derived_network(zoo.published(name), cells=20, channels=36, classes=10, auxiliary=True, **settings)
    imagenet = derived_network(zoo.published(name), cells=14, channels=48, classes=1000, start="imagenet", **settings)
    counts = multiply_adds(cifar, (32, 32, 3)), multiply_adds(imagenet, (224, 224, 3))
    assert tuple(round(count / 1e6) for count in counts) == MILLIONS[name]


@pytest.mark.parametrize("name", TRAINING_PRESETS)
def test_presets_differ_from_each_other_in_what_they_say(name):
    assert [other for other, config in TRAINING_PRESETS.items() if config == TRAINING_PRESETS[name]] == [name]


def run_command(*arguments):
    return status(train.main, ["train", *arguments])


def test_dry_run_shows_all_and_trains_nothing(tiny, tmp_path, capsys):
    run_dir = tmp_path / "run"
    assert run_command(f"--genotype={tiny.genotype}", "--preset=smoke", "--dry_run", f"--run_dir={run_dir}") == 0
    out = capsys.readouterr().out
    resolved, end = json.JSONDecoder().raw_decode(out)
    assert resolved["genotype"] == genotypes.to_json(TINY) and resolved["data"]["image_shape"] == [8, 8, 1]
    assert "weights: 2,486 " in out[end:] and "multiply-adds: " in out[end:] and out[end:].count(" MB") == 1
    assert not run_dir.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--genotype=PC_DARTS_cifar", "--dataset=cifar10", "--cells=3", "--channels=36"], "weights: 532,990 "),
        pytest.param(["--genotype=DARTS_V2", "--preset=imagenet"], "for an image of 224x224", marks=pytest.mark.slow),
    ],
)
def test_dry_run_needs_no_data(flags, expected, tmp_path, capsys):
    assert run_command(*flags, f"--data_dir={tmp_path}", "--dry_run") == 0
    out = capsys.readouterr().out
    assert expected in out and f"not in data_dir {tmp_path}" in out and " MB" in out


def test_dry_run_refuses_data_that_cannot_be_trained_on(tmp_path, capsys):
    for name, expected in {"imdb_reviews": "not an image classification set", "caltech101": "give image_size"}.items():
        assert run_command(f"--dataset={name}", f"--data_dir={tmp_path}", "--dry_run") == 1
        assert expected in capsys.readouterr().err


def test_genotype_list_prints_the_published_names(capsys):
    assert run_command("--genotype=list") == 0
    assert "PC_DARTS_cifar" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--genotype=DARTS_V3"], "did you mean DARTS_V2"),
        (["--genotype=RobNet_free"], "expected cells=20"),
        (["--genotype={0}/nothing.json"], "cannot read a genotype from"),
        (["--adversarial=cw"], "<none|pgd|fast|trades|mart|free>"),
        (["--adversarial=pgd", "--radius=8"], "expected at most 1, because pixels are in [0, 1]"),
        (["--adversarial=free", "--norm=l2"], "expected norm='linf'"),
        (["--patience=3", "--held_out=0"], "expected held_out above 0"),
        (["--held_out=0.001"], "is less than one image a class"),
        (["--held_out=1"], "held_out=1.0: expected less than 1"),
        (["--batch_size=1300"], "batch_size=1300: expected at most 1298"),
        (["--image_size=4"], "4x4 pixels: expected at least 5x5 for two reductions and the auxiliary head"),
        (["--start=imagenet"], "8x8 pixels: expected at least 33x33"),
        (["--resume", "--run_dir={0}/none"], "no run to resume"),
        (["--resume", "--run_dir={1}", "--radius=0.2"], "radius: 0.1 -> 0.2"),
        (["--run_dir={1}"], "already holds a run: give --resume"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_input_ends_in_one_line(tmp_path, tiny_run, capsys, arguments, expected):
    arguments = [argument.format(tmp_path, tiny_run[0]) for argument in arguments]
    if not any(argument.startswith("--run_dir") for argument in arguments):
        arguments.append(f"--run_dir={tmp_path / 'run'}")
    assert run_command(*arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert expected in err
    assert not (tmp_path / "run").exists()
