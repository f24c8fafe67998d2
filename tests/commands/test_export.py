"""The command export: files that give the network's logits, model cards, bad input in one line."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import onnxruntime
import pytest
from safetensors import safe_open

from dsrna_jax import genotypes
from dsrna_jax.commands import export
from dsrna_jax.commands.process import status
from dsrna_jax.evaluation import exporting
from dsrna_jax.training import restore, weights_file

IMAGES = np.random.default_rng(3).uniform(size=(5, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def network(trained_run):
    return restore.load(trained_run)


def exported(run, to, out, *more):
    assert status(export.main, ["export", f"--checkpoint={run}", f"--to={to}", f"--out={out}", *more]) == 0
    return out


def logits(network):
    return np.asarray(jax.jit(network.logits_fn)(IMAGES))


def test_onnx_gives_the_logits_of_the_network(trained_run, network, tmp_path, capsys):
    out = exported(trained_run, "onnx", tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(out)
    np.testing.assert_allclose(session.run(["logits"], {"images": IMAGES})[0], logits(network), atol=1e-5)
    kept = session.get_modelmeta().custom_metadata_map
    assert genotypes.from_json(kept["genotype"]) == network.architecture and kept["digest"] == network.digest
    assert "by onnxruntime differ by" in capsys.readouterr().out


def test_jax_export_gives_the_logits_of_the_network(trained_run, network, tmp_path):
    out = exported(trained_run, "jax_export", tmp_path / "network.jax_export")
    program = jax.export.deserialize(bytearray(out.read_bytes()))
    np.testing.assert_allclose(program.call(IMAGES), logits(network), atol=1e-5)


def test_safetensors_hold_every_array_by_name_and_the_genotype(trained_run, network, tmp_path):
    out = exported(trained_run, "safetensors", tmp_path / "network.safetensors")
    with safe_open(out, "numpy") as file:
        arrays, kept = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    named = weights_file.named(network.variables)
    assert set(arrays) == set(named) and "params.head_kernel" in arrays
    assert all(np.array_equal(arrays[name], named[name]) for name in named)
    assert genotypes.from_json(kept["genotype"]) == network.architecture
    assert json.loads(kept["data"])["mean"] == network.metadata["data"]["mean"]


def test_a_safetensors_file_is_loaded_and_exported_as_the_run_is(trained_run, network, tmp_path):
    file = exported(trained_run, "safetensors", tmp_path / "network.safetensors")
    loaded = restore.load(file)
    assert (loaded.digest, loaded.step, loaded.config) == (network.digest, network.step, network.config)
    assert np.array_equal(logits(loaded), logits(network))
    assert status(export.main, ["export", f"--checkpoint={file}", "--to=safetensors"]) == 0
    (again,) = tmp_path.glob("network.safetensors_export/*.safetensors")
    assert restore.load(again).digest == network.digest
    assert "Not measured on test images" in again.with_suffix(".md").read_text()


def test_the_genotype_is_darts_text(trained_run, network, tmp_path):
    out = exported(trained_run, "genotype", tmp_path / "cell.txt")
    assert genotypes.load(out) == genotypes.zoo.resolve(str(out)) == network.architecture


def test_the_model_card_has_what_the_run_folder_holds(runs, tmp_path, capsys):
    run = runs.make("run", seed=5, adversarial="pgd", epochs=7)
    pgd = {"name": "PGD-100", "norm": "linf", "radius": 8 / 255, "budget": "100 steps", "seconds": 1.0}
    runs.attack(run, 0.9, [(pgd, 0.25)])
    runs.test(run, 0.95)
    runs.certify(run, 0.9, [0.01, 0.03], norm="l2", method="crown_ibp")
    runs.certify(run, 0.9, [0.01], arithmetic="exact")
    runs.verify(run, 0.02, verified=6, counterexample=2, unknown=1, misclassified=1)
    exported(run, "genotype", tmp_path / "cell.txt", "--licence=CC-BY-4.0")
    text = (tmp_path / "cell.md").read_text()
    assert "license: CC-BY-4.0" in text and "| PGD-100 | linf | 0.03137 | 100 steps | 25.0% | 100 |" in text
    assert "| crown_ibp | l2 | 0.02 | 2 |" in text and "| hz_crown, exact arithmetic | linf | 0.01 | 1 |" in text
    assert "95.00% of all 360 test images" in text
    assert "| 0.02 | 60.0% | 6 verified, 2 counterexample, 1 unknown, 1 misclassified of 10 | 60 s |" in text
    assert "| adversarial | pgd |" in text and "| epochs | 7 |" in text and "| seed | 5 |" in text
    assert genotypes.to_darts(runs.networks[run].architecture) in text and runs.networks[run].digest in text


def test_a_card_of_a_network_without_evaluations_says_so(trained_run, tmp_path):
    shutil.copytree(trained_run / "best", tmp_path / "run" / "best")
    assert status(export.main, ["export", f"--checkpoint={tmp_path / 'run'}", "--to=genotype"]) == 0
    (card,) = tmp_path.rglob("*.md")
    assert card.with_suffix(".txt").is_file() and card.read_text().count("Not measured") == 4
    assert "not stated by those who trained them" in card.read_text()


def test_files_that_no_export_wrote_stay_and_exports_are_replaced(trained_run, tmp_path, capsys):
    for name in ("cell.txt", "cell.of_mine", "cell.of_mine", "cell.txt"):  # both have the card cell.md
        exported(trained_run, "genotype", tmp_path / name)
    for name, there in (("config.json", "config.json"), ("cell.json", "cell.json"), ("cell.txt", "cell.md")):
        (tmp_path / there).write_text("mine")
        before = sorted(tmp_path.iterdir())
        capsys.readouterr()
        assert status(export.main, ["export", f"--checkpoint={trained_run}", "--to=genotype", f"--out={tmp_path / name}"]) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.startswith(f"error: {tmp_path / there}") and err.count("\n") == 1 and "give another --out" in err
        assert (tmp_path / there).read_text() == "mine" and sorted(tmp_path.iterdir()) == before


def test_a_file_whose_logits_differ_is_not_kept(network, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_onnx_judge", lambda path: ("a judge", lambda images: logits(network)[:1] + 1))
    with pytest.raises(exporting.InputError, match="logits by a judge differ"):
        exporting.export_onnx(network, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected --checkpoint=RUN"),
        (["--checkpoint=RUN", "--to=tflite"], "<onnx|safetensors|jax_export|genotype>"),
        (["--checkpoint={0}/absent"], "no checkpoint in"),
        (["--checkpoint={0}/absent", "--out={0}"], "is a folder: expected a file to write"),
        (["--checkpoint={0}/absent", "--out={0}/card.md"], "the name of the model card"),
        (["--checkpoint={0}/absent", "--out={0}/file/x.onnx"], "is a file"),
        (["extra"], "unexpected argument 'extra'"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, expected, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.iterdir())
    assert status(export.main, ["export", *(argument.format(tmp_path) for argument in arguments)]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and expected in err
    assert sorted(Path(tmp_path).iterdir()) == before
