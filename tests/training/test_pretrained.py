"""Networks that ship with the package: they load by name, and are those that their model cards describe."""

import hashlib
import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import dsrna_jax
from dsrna_jax import data
from dsrna_jax.commands import attack, certify, compare, export, verify
from dsrna_jax.commands.process import status
from dsrna_jax.errors import InputError
from dsrna_jax.training import restore, weights_file
from dsrna_jax.training.shipped import FOLDER

NAMES = dsrna_jax.pretrained()
SECTIONS = ["Network", "Data", "Training", "Accuracy", "Under attack", "Certificates", "Verified", "File", "Licence", "Made by"]
DIGITS = data.load("digits", "test")
IMAGES = DIGITS.images.astype(np.float32) / 255
SHIPPED = FOLDER / "digits_dsrna_cb.safetensors"

# Logits of the first test image for classes 0 to 3.
GOLDEN = {
    "digits_dsrna_cb": [3.1196, -2.6453, 2.6078, 0.2993],
    "digits_dsrna_cb_adversarial": [0.3232, -2.6541, 0.1577, 1.885],
    "digits_dsrna_jacobian": [0.6371, -1.1224, 0.7965, -1.1898],
    "digits_dsrna_jacobian_adversarial": [-2.4485, -1.2447, -1.2008, 1.7255],
    "digits_pcdarts": [-4.3328, -0.6524, -3.3077, 0.9088],
    "digits_pcdarts_adversarial": [-3.4938, -0.8095, -3.5232, 2.1468],
}


@pytest.fixture(scope="module")
def networks():
    return {name: dsrna_jax.pretrained(name) for name in NAMES}


@pytest.fixture(scope="module")
def logits(networks):
    """The logits [image, class] of all test images, by the name of the network; one compilation serves those of one cell."""
    compiled = jax.jit(lambda logits_fn, images: logits_fn(images))
    return {name: np.asarray(compiled(network.logits_fn, IMAGES)) for name, network in networks.items()}


def card(name):
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def test_logits_are_those_recorded(logits):
    assert set(NAMES) == set(GOLDEN)
    for name in NAMES:
        np.testing.assert_allclose(logits[name][0, :4], GOLDEN[name], atol=2e-3, err_msg=name)


def test_accuracy_on_the_test_images_is_that_of_the_model_card(logits):
    for name in NAMES:
        right, images = re.search(r"of all ([\d,]+) test images \(([\d,]+) are right", card(name)).group(2, 1)
        assert int(images) == len(IMAGES), name
        assert abs((logits[name].argmax(1) == DIGITS.labels).sum() - int(right)) <= 1, name


def test_model_cards_are_of_these_files_and_say_how_they_were_made(networks):
    for name, network in networks.items():
        assert hashlib.sha256((FOLDER / f"{name}.safetensors").read_bytes()).hexdigest() in card(name)
        assert network.digest in card(name) and f"dsrna_jax train --genotype={network.config.genotype} " in card(name)
        assert re.search(r"\| AutoAttack \| linf \| 0\.1 \| .* \| 128 \|", card(name))
        (radius,) = re.findall(r"\| hz_crown, exact arithmetic \| linf \| (\S+) \| 32 \|", card(name))
        assert float(radius) > 0
        assert re.findall("^## (.*)$", card(name), re.MULTILINE) == SECTIONS
    assert {file.stem for file in FOLDER.glob("*.md")} == set(NAMES)
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 800_000


@pytest.mark.usefixtures("unchecked_signatures")
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (DIGITS.images[:2], "images must be floating point .*, got uint8 .*: divide bytes by 255"),
        (np.repeat(IMAGES[:2], 3, axis=3), r"images must be \[batch, height, width, 1\], got shape \(2, 8, 8, 3\)"),
    ],
)
def test_images_that_a_network_does_not_take_are_refused_in_one_line(networks, images, message):
    for logits_fn in (networks["digits_pcdarts"].logits_fn, networks["digits_pcdarts"].logits_in("bfloat16")):
        with pytest.raises(InputError, match=f"^{message}"):
            logits_fn(images)


def test_a_network_is_what_restore_gives(networks):
    network = networks["digits_pcdarts"]
    assert isinstance(network, restore.TrainedNetwork) and network.image_shape == (8, 8, 1) and len(network.class_names) == 10
    assert restore.load("digits_pcdarts").digest == restore.load(FOLDER / "digits_pcdarts.safetensors").digest == network.digest
    assert network.architecture == dsrna_jax.zoo.published("PC_DARTS_cifar")
    assert {name for name in NAMES if networks[name].config.is_adversarial} == {n for n in NAMES if n.endswith("_adversarial")}


def test_an_unknown_name_is_refused_by_the_names_there_are():
    for name in ("digits_dsrna", "../networks/digits_pcdarts", ""):
        with pytest.raises(InputError, match="expected one of digits_dsrna_cb, ") as error:
            dsrna_jax.pretrained(name)
        assert "\n" not in str(error.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(InputError, match="safetensors files: the package safetensors is missing: pip install"):
        dsrna_jax.pretrained("digits_pcdarts")


def test_commands_take_a_file(tmp_path, capsys):
    (tmp_path / "network.safetensors").write_bytes(SHIPPED.read_bytes())
    command = ["attack", f"--checkpoint={tmp_path}/network.safetensors", "--examples=10", "--dry_run"]
    assert status(attack.main, command) == 0
    assert "digits test: 10 images" in capsys.readouterr().out


def test_commands_take_a_name_unless_a_path_has_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["certify", "--checkpoint=digits_dsrna_cb", "--method=ibp", "--examples=2", "--tries=1", "--attack=none"]
    assert status(certify.main, command) == 0
    report = json.loads(Path("runs/digits_dsrna_cb.safetensors_certify_ibp_linf/certify.json").read_text())
    assert report["checkpoint"]["digest"] == dsrna_jax.pretrained("digits_dsrna_cb").digest
    assert status(compare.main, ["compare", "digits_dsrna_cb"]) == 0
    assert "l-infinity certified lower bound, ibp; 2 test images" in capsys.readouterr().out
    Path("digits_dsrna_cb").mkdir()
    assert status(certify.main, command) == 1
    assert "no checkpoint in" in capsys.readouterr().err


@pytest.mark.parametrize("command", [attack, certify, verify, export])
def test_a_path_that_is_not_there_is_refused_by_the_names_that_could_be_meant(command, capsys):
    assert status(command.main, ["command", "--checkpoint=digits_dsrna"]) == 1
    assert (
        "error: no checkpoint in digits_dsrna, which is not there: expected the folder of a training, or one of digits_dsrna_cb,"
        in capsys.readouterr().err
    )


def rewritten(path, change):
    """A copy of a shipped file whose arrays and metadata `change` has had in hand."""
    from safetensors import safe_open

    arrays = load_file(SHIPPED)
    with safe_open(SHIPPED, "numpy") as file:
        texts = file.metadata()
    change(arrays, texts)
    save_file(arrays, path, texts)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda arrays, texts: arrays.update({"params.head_kernel": arrays["params.head_kernel"] * 2}), "is damaged"),
        (lambda arrays, texts: arrays.pop("params.head_kernel"), "is damaged"),
        (lambda arrays, texts: arrays.update({"params": np.zeros(1)}), "named as its beginning"),
        (lambda arrays, texts: texts.clear(), "lacks the metadata digest, step, genotype, config, data"),
        (lambda arrays, texts: texts.update(step="many"), "expected JSON"),
        (lambda arrays, texts: texts.update(config="[]"), "config"),
        (lambda arrays, texts: texts.update(genotype="{}"), "network.safetensors: "),
        (lambda arrays, texts: texts.update(config=texts["config"].replace('"channels": 6', '"channels": 7')), "does not fit"),
    ],
)
def test_damaged_files_are_refused_in_one_line(change, expected, tmp_path):
    path = tmp_path / "network.safetensors"
    rewritten(path, change)
    with pytest.raises(InputError) as error:
        restore.load(path)
    assert expected in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no such format", None])
def test_files_of_another_kind_are_refused_in_one_line(content, tmp_path):
    path = tmp_path / "network.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot read|there is no file") as error:
        restore.load(path)
    assert "\n" not in str(error.value)


def test_names_of_arrays_give_the_nested_dict_back():
    tree = {"params": {"a": {"b": np.ones(2)}, "c": np.zeros(3)}, "batch_stats": {"a": np.arange(2.0)}}
    assert jax.tree.all(jax.tree.map(np.array_equal, weights_file.nested(weights_file.named(tree)), tree))
