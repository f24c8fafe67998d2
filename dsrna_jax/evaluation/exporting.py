"""Trained networks as files for other programs, each checked when it is written: ONNX, safetensors, jax.export, DARTS's text."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import dsrna_jax
from dsrna_jax import genotypes
from dsrna_jax.errors import InputError
from dsrna_jax.files import replacing, write_whole
from dsrna_jax.interchange.onnx_network import read
from dsrna_jax.interchange.onnx_writer import write
from dsrna_jax.training import weights_file
from dsrna_jax.training.restore import TrainedNetwork

TOLERANCE = 1e-5
"""Largest difference between logits of a file and of the network, relative to the largest logit if that exceeds 1."""
_IMAGES = 8
_PLATFORMS = ("cpu", "cuda", "tpu")


def export_onnx(network: TrainedNetwork, path: str | os.PathLike) -> str:
    """Writes the network as ONNX, images [batch, height, width, channel] in [0, 1] -> logits; returns the check's result.

    The check compares logits by onnxruntime, or by our own reader if that is not installed.
    Raises: InputError if the package onnx is absent, or the logits differ.
    """
    with replacing(path) as temporary:
        write(
            network.logits_fn, network.image_shape, temporary, input_name="images", output_name="logits", metadata=facts(network)
        )
        judge, logits = _onnx_judge(temporary)
        return _checked(network, logits, judge)


def _onnx_judge(path: Path) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return "dsrna_jax's own reader", jax.jit(read(path))
    onnxruntime.set_default_logger_severity(3)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return "onnxruntime", lambda images: np.asarray(session.run(["logits"], {"images": images})[0])


def export_safetensors(network: TrainedNetwork, path: str | os.PathLike) -> str:
    """Writes weights and batch statistics as safetensors, under their names in the network, with `facts` as metadata.

    Raises: InputError if the package safetensors is absent.
    """
    return f"{weights_file.write(path, network.variables, facts(network))} arrays, read back as they are"


def export_jax(network: TrainedNetwork, path: str | os.PathLike) -> str:
    """Writes the network by `jax.export` (StableHLO, its weights as constants), for any batch, for CPUs, CUDA and TPUs.

    Raises: InputError if the logits differ.
    """
    from jax import export

    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *network.image_shape), np.float32)
    program = export.export(jax.jit(lambda images: network.logits_fn(images)), platforms=_PLATFORMS)(shape)
    with replacing(path) as temporary:
        temporary.write_bytes(program.serialize())
        return _checked(network, export.deserialize(bytearray(temporary.read_bytes())).call, "jax.export")


def export_genotype(network: TrainedNetwork, path: str | os.PathLike) -> str:
    """Writes the genotype as DARTS's text. Raises: InputError for an architecture that it cannot describe."""
    text = genotypes.to_darts(network.architecture)
    write_whole(path, text + "\n")
    return text


def facts(network: TrainedNetwork) -> dict[str, str]:
    """The network's description as texts: version, genotype, configuration and data as JSON, digest of the weights."""
    return {"dsrna_jax": dsrna_jax.__version__, **weights_file.description(network.metadata, network.step, network.variables)}


def _checked(network: TrainedNetwork, logits: Callable[[np.ndarray], Any], judge: str) -> str:
    """The result of a comparison of logits, as text. Raises: InputError if they differ by more than `TOLERANCE`."""
    images = np.random.default_rng(0).uniform(size=(_IMAGES, *network.image_shape)).astype(np.float32)
    own, theirs = np.asarray(jax.jit(network.logits_fn)(images)), np.asarray(logits(images))
    difference = np.abs(own - theirs).max() / max(1.0, np.abs(own).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"logits by {judge} differ from those of the network by {difference:.2g}: expected {TOLERANCE:g}; nothing was written"
        )
    return f"logits of {_IMAGES} random images by {judge} differ by {difference:.1g} at most"


FORMATS: dict[str, Callable[[TrainedNetwork, str | os.PathLike], str]] = {
    "onnx": export_onnx,
    "safetensors": export_safetensors,
    "jax_export": export_jax,
    "genotype": export_genotype,
}
