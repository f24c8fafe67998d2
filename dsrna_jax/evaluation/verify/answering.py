"""The answer to one instance of VNN-COMP, whose counterexamples are confirmed."""

import os
import time
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from dsrna_jax import bounds, interchange
from dsrna_jax.bounds.verifier.verdict import ENDED_BY_ROUNDING, over
from dsrna_jax.errors import InputError
from dsrna_jax.evaluation.verify.instances import Answer
from dsrna_jax.files import expanded
from dsrna_jax.interchange import OnnxNetwork, Property
from dsrna_jax.interchange.onnx_file import read_bytes
from dsrna_jax.interchange.onnx_network import fits_float32

TOLERANCE = 1e-4
"""By how much onnxruntime's outputs, in float32, may miss the unsafe set that a counterexample reaches in float64."""


def answer(onnx: str | os.PathLike, vnnlib: str | os.PathLike, timeout: float) -> Answer:
    """The answer to one instance, within `timeout` seconds.

    Raises: InputError if a file cannot be read, they do not fit together, or the network cannot be bounded.
    """
    started = time.monotonic()
    if not timeout > 0:
        raise InputError(f"timeout={timeout:g}: expected more than 0 seconds")
    network, properties = interchange.read_onnx(onnx), interchange.read_vnnlib(vnnlib)
    _check_fit(network, properties, vnnlib)

    def seconds():
        return time.monotonic() - started

    if seconds() >= timeout:
        return Answer("timeout", over(len(properties), len(properties)), seconds(), 0)
    verdict = _verdict(network, properties, timeout - seconds())
    if verdict.status == "verified":
        return Answer("unsat", "the property holds", seconds(), verdict.branches)
    doubt = verdict.reason
    if verdict.counterexample is not None:
        x = np.asarray(verdict.counterexample, np.float64)
        y, doubt = confirmed(network, onnx, properties, x)
        if not doubt:
            return Answer("sat", verdict.reason, seconds(), verdict.branches, (x, y))
    return Answer("timeout" if seconds() >= timeout else "unknown", doubt, seconds(), verdict.branches)


def _verdict(network: OnnxNetwork, properties: Sequence[Property], timeout: float) -> bounds.Verdict:
    """Whether a network has all of the properties: in float64 where float32 does not hold their numbers, or rounds too much."""
    if network.dtype == np.float32 and all(fits_float32(p.rows) for p in properties):
        verdict = _verdict_in(np.float32, network, properties, timeout)
        timeout -= verdict.seconds
        if verdict.reason not in ENDED_BY_ROUNDING or timeout <= 0:
            return verdict
    return _verdict_in(np.float64, network, properties, timeout)


def _verdict_in(dtype: DTypeLike, network: OnnxNetwork, properties: Sequence[Property], timeout: float) -> bounds.Verdict:
    with jax.enable_x64(dtype == np.float64):
        region, specification = interchange.union(properties, network.example_shape, network.example_output_shape, dtype)
        try:
            return bounds.verify(network.function, region, specification, timeout=timeout)
        except NotImplementedError as error:
            raise InputError(f"{network.path} cannot be bounded: {error}") from error


def confirmed(
    network: OnnxNetwork, onnx: str | os.PathLike, properties: Sequence[Property], x: np.ndarray
) -> tuple[np.ndarray, str]:
    """The output at x, and the doubt if x is no counterexample; "" if it is one.

    x must lie in the box of a property, and its output must be unsafe in float64, and within `TOLERANCE` by onnxruntime if that
    is installed. The output is then onnxruntime's.
    """
    of_x = [p for p in properties if np.all(p.lower <= x.ravel()) and np.all(x.ravel() <= p.upper)]
    if not of_x:
        return np.zeros(0), "the counterexample lies outside of the box"
    with jax.enable_x64(True):
        y = np.asarray(network(jnp.asarray(x[None], jnp.float64))).reshape(1, -1)
    of_x = [p for p in of_x if p.is_unsafe(y)[0]]
    if not of_x:
        return y, "the counterexample is none in float64"
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return y, ""
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(read_bytes(expanded(onnx)), providers=["CPUExecutionProvider"])
    dtype = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    (y,) = session.run([network.output_name], {network.input_name: x.astype(dtype).reshape(network.input_shape)})
    y = np.asarray(y, np.float64).reshape(1, -1)
    scale = max(1.0, np.abs(y).max())
    is_confirmed = any(p.is_unsafe(y, TOLERANCE * scale)[0] for p in of_x)
    return y, "" if is_confirmed else "onnxruntime does not confirm the counterexample"


def _check_fit(network: OnnxNetwork, properties: Sequence[Property], vnnlib: str | os.PathLike) -> None:
    sizes = [("inputs", "X", int(np.prod(network.input_shape)), len(properties[0].lower))]
    sizes.append(("outputs", "Y", int(np.prod(network.output_shape)), properties[0].rows.shape[1]))
    for noun, letter, has, declared in sizes:
        if has != declared:
            last = f"{letter}_0 to {letter}_{declared - 1}"
            raise InputError(f"{vnnlib} declares {last}, but {network.path} has {has} {noun}")
