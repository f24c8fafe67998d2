"""A training ends the same however often it is stopped; its losses and rates are the published ones; load needs a path only."""

import dataclasses
import io
import json
import os
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_run import STATISTICS, linear_network
from test_run import at_step as at_step_of
from test_run import restore_arrays

from dsrna_jax import genotypes
from dsrna_jax.commands import train
from dsrna_jax.commands.process import status
from dsrna_jax.commands.training_presets import TRAINING_PRESETS
from dsrna_jax.errors import InputError
from dsrna_jax.genotypes import zoo
from dsrna_jax.networks import network
from dsrna_jax.networks.multiply_adds import multiply_adds
from dsrna_jax.runtime import records
from dsrna_jax.runtime.checkpoint import Checkpoints
from dsrna_jax.runtime.signals import Stopped
from dsrna_jax.training import adversarial, restore
from dsrna_jax.training import run as training_run
from dsrna_jax.training.adversarial import Passes
from dsrna_jax.training.config import ADVERSARIES, TrainingConfig
from dsrna_jax.training.schedules import learning_rate
from dsrna_jax.training.setup import training_setup
from dsrna_jax.training.step import evaluated_variables, training_functions

CELL = (("sep_conv_3x3", 0), ("skip_connect", 1))
TINY = genotypes.Genotype(CELL, (2,), CELL, (2,))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A genotype file, and a configuration that trains it in seconds: each part of a training, as small as it gets."""
    file = tmp_path_factory.mktemp("genotype") / "tiny.json"
    genotypes.save(TINY, file)
    return TrainingConfig(
        genotype=str(file), cells=3, channels=4, auxiliary_weight=0.4, drop_path=0.2, epochs=3, batch_size=256, ema=0.5,
        adversarial="fast", radius=0.1, val_attack_steps=2,
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_run(tiny, tmp_path_factory):
    """The folder of that training, never interrupted, what the run said, and what it came to."""
    path, said = tmp_path_factory.mktemp("training") / "run", io.StringIO()
    return path, said, training_run.run(tiny, path, devices=1, file=said)


# ---- a run


def test_one_row_an_epoch_and_the_most_robust_is_best(tiny_run):
    path, said, end = tiny_run
    rows = records.rows(path / "metrics.jsonl")
    assert [(row["epoch"], row["step"]) for row in rows] == [(1, 5), (2, 10), (3, 15)]
    assert all(np.isfinite([value for value in row.values()]).all() for row in rows)
    assert [row["learning_rate"] for row in rows] == pytest.approx([0.05, 0.0375, 0.0125])
    assert all(row["val_robust_accuracy"] <= row["val_accuracy"] for row in rows)
    assert end.last == rows[-1] and end.best in rows and end.epochs == 3
    assert end.best["val_robust_accuracy"] == max(row["val_robust_accuracy"] for row in rows)
    assert Checkpoints(path / "best").steps == [end.best["step"]]
    assert all((path / name).read_bytes()[:4] == b"\x89PNG" for name in ("cells.png", "curves.png"))
    assert "139 held out" in said.getvalue() and "val robust acc" in said.getvalue()


def test_a_trained_network_needs_nothing_but_the_path(tiny, tiny_run):
    """From the folder of the run it is the best one, and has the recorded accuracy on the held-out images."""
    path, _, end = tiny_run
    found = restore.load(path)
    assert found.step == end.best["step"] and found.config == tiny and found.architecture == TINY
    assert found.image_shape == (8, 8, 1) and found.class_names == tuple("0123456789")
    setup = training_setup(tiny)
    part = setup.parts["held_out"]
    logits = jax.jit(found.logits_fn)(jnp.float32(setup.dataset.images[part]) / 255)
    accuracy = np.mean(np.argmax(logits, axis=1) == setup.dataset.labels[part])
    assert accuracy == pytest.approx(end.best["val_accuracy"], abs=1.5 / len(part))
    assert restore.load(path / "checkpoints").step == 15
    alone = jax.jit(found.logits_fn)(jnp.float32(setup.dataset.images[part[:1]]) / 255)
    np.testing.assert_allclose(alone, logits[:1], rtol=1e-4, atol=1e-5)  # images do not see each other
    assert "auxiliary_head" not in found.variables["params"]


def test_the_parts_of_the_data_do_not_overlap(tiny):
    setup = training_setup(tiny)
    assert sorted([*setup.parts["train"], *setup.parts["held_out"]]) == list(range(len(setup.dataset)))
    shares = np.bincount(setup.dataset.labels[setup.parts["held_out"]]) / np.bincount(setup.dataset.labels)
    assert np.all((shares > 0.08) & (shares <= 0.1))
    drawn = {index for step in range(2 * setup.steps_per_epoch) for index in setup.batch("train", step)}
    assert drawn <= set(setup.parts["train"])


def at_step(monkeypatch, step, action):
    at_step_of(monkeypatch, step, action, training_run.TrainingLoop)


def assert_same_end(path, unbroken):
    for name in ("metrics.jsonl", "genotype.json", "config.json", "result.json"):
        assert (path / name).read_bytes() == (unbroken / name).read_bytes(), name
    for folder in ("checkpoints", "best"):
        ends = [restore_arrays(run, folder) for run in (path, unbroken)]
        assert ends[0].keys() == ends[1].keys()
        for name, array in ends[0].items():
            assert array.tobytes() == ends[1][name].tobytes(), (folder, name)


@pytest.mark.parametrize(
    ("step", "saved"), [(6, 7), pytest.param(9, 10, marks=pytest.mark.slow)], ids=["mid-epoch", "end of epoch"]
)
def test_stopped_and_resumed_equals_unbroken(monkeypatch, tmp_path, tiny, tiny_run, step, saved):
    """Even when the file that named the genotype is gone."""
    file = tmp_path / "other.json"
    genotypes.save(TINY, file)
    config = dataclasses.replace(tiny, genotype=str(file))
    with monkeypatch.context() as patch, pytest.raises(Stopped, match=f"SIGTERM after step {saved} of 15"):
        at_step(patch, step, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        training_run.run(config, tmp_path / "run", devices=1, file=io.StringIO())
    file.unlink()
    said = io.StringIO()
    training_run.run(config, tmp_path / "run", resume=True, devices=1, file=said)
    assert f"resuming after step {saved} of 15" in said.getvalue()
    resolved = json.loads((tmp_path / "run" / "config.json").read_text())
    resolved["config"]["genotype"] = tiny.genotype
    (tmp_path / "run" / "config.json").write_text(json.dumps(resolved, indent=2) + "\n")
    assert_same_end(tmp_path / "run", tiny_run[0])


class Judged(training_run.TrainingLoop):
    """A loop that only judges rows."""

    def __init__(self, config, folder):
        from types import SimpleNamespace

        self.config, self.best, self.is_over, self.step, self.said = config, None, False, 0, []
        self.state = SimpleNamespace(weights={}, batch_stats={}, average={})
        self.setup = SimpleNamespace(resolved={})
        self.folder = SimpleNamespace(best=SimpleNamespace(save=lambda *_: None))
        self.progress = SimpleNamespace(note=self.said.append)

    def see(self, *robust):
        for epoch, value in enumerate(robust, 1):
            self._judge({"epoch": epoch, "val_accuracy": 0.9, "val_robust_accuracy": value, "val_loss": 1.0 - 0.01 * epoch})
        return self


def test_collapsed_robustness_ends_a_training(tiny, tmp_path):
    judged = Judged(tiny, tmp_path).see(0.3, 0.5, 0.35)
    assert not judged.is_over
    judged = judged.see(0.5, 0.1)
    assert judged.is_over and "catastrophic overfitting" in judged.said[0] and "from 50.0% in epoch" in judged.said[0]
    assert not Judged(dataclasses.replace(tiny, collapse=0.0), tmp_path).see(0.5, 0.0).is_over


def test_patience_ends_a_training(tiny, tmp_path):
    patient = dataclasses.replace(tiny, patience=2)
    assert not Judged(patient, tmp_path).see(0.5, 0.4).is_over
    judged = Judged(patient, tmp_path).see(0.5, 0.4, 0.45)
    assert judged.is_over and judged.best["epoch"] == 1
    # Without attacks the clean accuracy decides, and the loss where that is the same.
    assert Judged(patient, tmp_path).see(None, None, None).best["epoch"] == 3


# ---- the step, of a network without convolutions


class Linear(nn.Module):
    """One dense layer with the interface of a `Network`."""

    classes: int = 3
    mean: tuple[float, ...] = (0.5,)
    auxiliary: bool = False

    @nn.compact
    def __call__(self, images, mixtures=None, statistics="running", paths=None):
        count = self.variable("batch_stats", "count", lambda: jnp.zeros(()))
        if self.is_mutable_collection("batch_stats") and not self.is_initializing():
            count.value = count.value + 1
        flat = images.reshape(len(images), -1)
        return flat @ self.param("w", nn.initializers.normal(1.0), (flat.shape[1], self.classes))


NET, SHAPE = Linear(), (4, 4, 1)
IMAGES = jnp.asarray(np.random.default_rng(0).integers(0, 256, (8, *SHAPE), np.uint8))
LABELS = jnp.arange(8) % 3


def config_of(**fields):
    return TrainingConfig(**{"batch_size": 8, "auxiliary_weight": 0.0, "epochs": 4, "radius": 0.1, "lr": 0.1} | fields)


@pytest.mark.parametrize("kind", ADVERSARIES)
def test_each_kind_of_training_fits_eight_images(kind):
    """Fifty steps on eight images: the loss falls, and images that are right under attack are right without."""
    config = config_of(adversarial=kind, replays=3, epochs=50, attack_steps=3, val_attack_steps=5, radius=0.03, lr=0.5)
    functions = training_functions(config, NET, SHAPE, steps_per_epoch=1)
    state, step, key = functions.init(jax.random.key(0)), jax.jit(functions.train_step), jax.random.key(1)
    losses = []
    for _ in range(50):
        state, metrics = step(state, IMAGES, LABELS, key)
        losses.append(float(metrics["train_loss"]))
    _, right, robust = jax.jit(functions.evaluate)(state, IMAGES, LABELS, key)
    assert not np.any(robust & ~right) and right.sum() >= 6 and robust.sum() >= 4
    assert np.isfinite(list(metrics.values())).all() and int(state.step) == 50
    assert losses[-1] < 0.5 * losses[0]
    updates = {"none": 50, "free": 150, "trades": 100, "mart": 100}.get(kind, 50)
    assert float(state.batch_stats["count"]) == updates  # attacks leave the statistics alone
    if kind == "free":
        assert np.abs(state.perturbation["linf"]).max() <= np.float32(0.03)


def test_radius_zero_is_training_on_clean_images():
    states = []
    for kind in ("none", "pgd", "fast", "free"):
        config = config_of(adversarial=kind, radius=0.0 if kind != "none" else 0.1, replays=1)
        functions = training_functions(config, NET, SHAPE, steps_per_epoch=1)
        state = functions.init(jax.random.key(0))
        for _ in range(3):
            state, _ = jax.jit(functions.train_step)(state, IMAGES, LABELS, jax.random.key(1))
        states.append(state.weights["w"])
    for other in states[1:]:
        np.testing.assert_allclose(other, states[0], rtol=1e-5, atol=1e-6)


def test_the_radius_grows_in_its_warm_up():
    """The images that a step trains on lie in a ball of a quarter, a half, ... of the radius."""
    seen = []
    config = config_of(adversarial="free", radius_warmup_epochs=2, radius=0.2, replays=1)
    functions = training_functions(config, NET, SHAPE, steps_per_epoch=2)
    state = functions.init(jax.random.key(0))
    for _ in range(5):
        state, _ = jax.jit(functions.train_step)(state, IMAGES, LABELS, jax.random.key(1))
        seen.append(float(jnp.abs(state.perturbation["linf"]).max()))
    np.testing.assert_allclose(seen, [0.05, 0.1, 0.15, 0.2, 0.2], rtol=1e-6)


def test_the_average_lags_behind_and_is_what_is_evaluated():
    functions = training_functions(config_of(ema=0.9), NET, SHAPE, steps_per_epoch=1)
    start = state = functions.init(jax.random.key(0))
    step = jax.jit(functions.train_step)
    by_hand = start.weights["w"]
    for i in range(3):
        state, _ = step(state, IMAGES, LABELS, jax.random.key(1))
        kept = min(0.9, (1 + i) / (10 + i))
        by_hand = kept * by_hand + (1 - kept) * state.weights["w"]
    np.testing.assert_allclose(evaluated_variables(state)["params"]["w"], by_hand, rtol=1e-5)
    plain = training_functions(config_of(), NET, SHAPE, steps_per_epoch=1).init(jax.random.key(0))
    assert plain.average == {} and evaluated_variables(plain)["params"] is plain.weights


# ---- losses


def passes_of(logits_of):
    return Passes(lambda images, stats: (logits_of(images), None, stats), logits_of)


def random_logits(seed, rows=5):
    return jax.random.normal(jax.random.key(seed), (rows, 4))


def test_without_an_attack_trades_is_the_plain_loss_and_mart_the_boosted_one():
    """TRADES is then the plain loss; MART the boosted one."""
    config, labels, clean = config_of(beta=5.0), jnp.array([0, 1, 2, 3, 0]), random_logits(0)
    passes = passes_of(lambda images: images)
    plain, _ = adversarial.plain_loss(config, passes, clean, labels, {})
    expected = -jax.nn.log_softmax(clean)[jnp.arange(5), labels].mean()
    np.testing.assert_allclose(plain, expected, rtol=1e-5)
    np.testing.assert_allclose(adversarial.trades_loss(config, passes, clean, clean, labels, {})[0], plain, rtol=1e-5)
    p = np.asarray(jax.nn.softmax(clean))
    rivals = [max(np.delete(row, label)) for row, label in zip(p, labels, strict=True)]
    boosted = plain + np.mean([-np.log(1.0001 - rival) for rival in rivals])
    np.testing.assert_allclose(adversarial.mart_loss(config, passes, clean, clean, labels, {})[0], boosted, rtol=1e-5)


def test_trades_and_mart_equal_their_formulas():
    config, labels = config_of(beta=5.0), jnp.array([0, 1, 2, 3, 0])
    clean, attacked = random_logits(0), random_logits(1)
    passes = passes_of(lambda images: images)
    p, q = np.float64(jax.nn.softmax(clean)), np.float64(jax.nn.softmax(attacked))
    kl = np.sum(p * (np.log(p) - np.log(q)), axis=1)
    rows = np.arange(5)
    trades, _ = adversarial.trades_loss(config, passes, clean, attacked, labels, {})
    np.testing.assert_allclose(trades, np.mean(-np.log(p[rows, labels]) + 5 * kl), rtol=1e-5)
    rivals = np.array([max(np.delete(row, label)) for row, label in zip(q, labels, strict=True)])
    mart = np.mean(-np.log(q[rows, labels]) - np.log(1.0001 - rivals) + 5 * kl * (1 - p[rows, labels]))
    np.testing.assert_allclose(adversarial.mart_loss(config, passes, clean, attacked, labels, {})[0], mart, rtol=1e-5)


def test_the_plain_loss_smooths_labels_and_adds_the_auxiliary_loss():
    config, labels, logits = config_of(label_smoothing=0.1, auxiliary_weight=0.4), jnp.array([0, 3]), random_logits(2, 2)
    q = np.full((2, 4), 0.025) + 0.9 * np.eye(4)[np.asarray(labels)]
    expected = -np.sum(q * np.asarray(jax.nn.log_softmax(logits)), axis=1).mean()
    passes = Passes(lambda images, stats: (images, 2 * images, stats), None)
    other = -np.sum(q * np.asarray(jax.nn.log_softmax(2 * logits)), axis=1).mean()
    loss, _ = adversarial.plain_loss(config, passes, logits, labels, {})
    np.testing.assert_allclose(loss, expected + 0.4 * other, rtol=1e-5)


# ---- rates


@pytest.mark.parametrize(
    ("fields", "epochs", "rates"),
    [
        ({"schedule": "cosine", "epochs": 600}, [0, 300, 599.9, 600], [1, 0.5, 6.9e-6, 0]),
        ({"schedule": "linear", "epochs": 10}, [0, 5.5, 9], [1, 0.5, 0.1]),
        ({"schedule": "decay", "epochs": 250}, [0, 1, 2.9, 100], [1, 0.97, 0.97**2, 0.97**100]),
        ({"schedule": "steps", "epochs": 200}, [0, 99.9, 100, 149, 150, 199], [1, 1, 0.1, 0.1, 0.01, 0.01]),
        ({"schedule": "triangle", "epochs": 10}, [0, 2.5, 5, 7.5, 10], [0, 0.5, 1, 0.5, 0]),
        ({"schedule": "constant", "epochs": 10, "lr_warmup_epochs": 5}, [0, 1.5, 4, 9], [0.2, 0.4, 1, 1]),
    ],
    ids=lambda value: value.get("schedule") if isinstance(value, dict) else "",
)
def test_learning_rates_follow_their_schedule(fields, epochs, rates):
    config = config_of(**{"lr": 1.0, **fields})
    np.testing.assert_allclose([learning_rate(config, epoch) for epoch in epochs], rates, rtol=2e-2, atol=1e-6)


# ---- what it costs

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
    cifar = network.derived(zoo.published(name), cells=20, channels=36, classes=10, auxiliary=True, **settings)
    imagenet = network.derived(zoo.published(name), cells=14, channels=48, classes=1000, start="imagenet", **settings)
    counts = multiply_adds(cifar, (32, 32, 3)), multiply_adds(imagenet, (224, 224, 3))
    assert tuple(round(count / 1e6) for count in counts) == MILLIONS[name]


# ---- the command


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
        (["--genotype=PC_DARTS_cifar", "--dataset=cifar10", "--cells=20", "--channels=36"], "weights: 3,634,678 "),
        (["--genotype=DARTS_V2", "--preset=imagenet"], "for an image of 224x224"),
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
        (["--adversarial=cw"], "<none|pgd|fast|free|trades|mart>"),
        (["--radius=8"], "expected at most 1, because pixels are in [0, 1]"),
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


def test_checkpoints_of_other_commands_are_refused_with_what_to_do(tmp_path, tiny_run):
    with pytest.raises(InputError, match="no checkpoint in"):
        restore.load(tmp_path)
    found = restore.load(tiny_run[0])
    state = {"weights": found.variables["params"], "batch_stats": found.variables["batch_stats"]}
    Checkpoints(tmp_path / "search").save(1, state, {"experiment": "search"})
    with pytest.raises(InputError, match="checkpoint of a search, expected that of a training.*--genotype="):
        restore.load(tmp_path / "search")
    other = json.loads(json.dumps(found.metadata))
    other["config"]["channels"] = 6
    Checkpoints(tmp_path / "other").save(1, state, other)
    with pytest.raises(InputError, match="does not hold the network that it describes"):
        restore.load(tmp_path / "other")


def test_two_trainings_of_a_seed_are_one(tiny):
    """The batch of a step depends on nothing but the seed and the step."""
    first, second = training_setup(tiny), training_setup(tiny)
    np.testing.assert_array_equal(first.batch("train", 7), second.batch("train", 7))
    assert not np.array_equal(first.batch("train", 7), training_setup(dataclasses.replace(tiny, seed=1)).batch("train", 7))


def test_networks_that_differ_in_statistics_of_pixels_share_their_programs(tmp_path):
    """Two seeds hold out other images, hence other statistics: these are leaves, which the logits follow."""
    described, key = network.derived(TINY, cells=3, channels=4, classes=10, **STATISTICS), jax.random.key(0)
    image = jax.ShapeDtypeStruct((1, 8, 8, 1), "float32")
    variables = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), jax.eval_shape(described.init, key, image))
    metadata = linear_network(cells=3, channels=4, auxiliary_weight=0.0).metadata | {"genotype": genotypes.to_json(TINY)}
    state, loaded = {"weights": variables["params"], "batch_stats": variables["batch_stats"]}, []
    for mean in (0.5, 0.25):
        Checkpoints(tmp_path / f"{mean}").save(7, state, metadata | {"data": metadata["data"] | {"mean": [mean]}})
        loaded.append(restore.load(tmp_path / f"{mean}"))
    first, second = (trained.logits_fn for trained in loaded)
    assert jax.tree.structure(first) == jax.tree.structure(second)
    images = jax.random.uniform(key, (2, 8, 8, 1))
    for trained in loaded:
        expected = trained.network.apply(trained.variables, images)
        np.testing.assert_allclose(trained.logits_fn(images), expected, rtol=1e-5)
    assert not np.allclose(first(images), second(images))
