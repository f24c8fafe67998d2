"""The answer to one instance of VNN-COMP: its boxes are verified one after the other, counterexamples are confirmed."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax import bounds, interchange
from dsrna_jax.bounds.verifier.api import attacked_first
from dsrna_jax.bounds.verifier.verdict import OVER
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

    If the property has several boxes, all are attacked first. They share the time, and those that it does not suffice for share
    what the others leave.

    Raises: InputError if a file cannot be read, they do not fit together, or the network cannot be bounded.
    """
    started = time.monotonic()
    if not timeout > 0:
        raise InputError(f"timeout={timeout:g}: expected more than 0 seconds")
    network, properties = interchange.read_onnx(onnx), interchange.read_vnnlib(vnnlib)
    _check_fit(network, properties, vnnlib)
    branches, doubts = 0, []

    def left() -> float:
        return timeout - (time.monotonic() - started)

    def sat(claim: Property, point: np.ndarray | None, reason: str) -> Answer | None:
        if point is None:
            return None
        x = np.asarray(point, np.float64)
        y, doubt = confirmed(network, onnx, claim, x)
        if doubt:
            doubts.append(doubt)
            return None
        return Answer("sat", reason, timeout - left(), branches, (x, y))

    waiting = list(properties)
    for claim in waiting if len(waiting) > 1 else ():
        if left() > 0 and (known := sat(claim, _solved(network, claim, attacked_first), "found by an attack")):
            return known
    while waiting and left() > 0:
        late = []
        for place, claim in enumerate(waiting):
            share = left() / (len(waiting) - place)
            if share <= 0:
                late.append(claim)
                continue
            verdict = _solved(network, claim, bounds.verify, timeout=share)
            branches += verdict.branches
            if known := sat(claim, verdict.counterexample, verdict.reason):
                return known
            if verdict.reason == OVER:
                late.append(claim)
            elif verdict.status == "unknown":
                doubts.append(verdict.reason)
        waiting = late
    if waiting:
        doubts.append(OVER if len(properties) == 1 else f"{OVER} before {len(waiting)} of {len(properties)} boxes were decided")
    if not doubts:
        return Answer("unsat", "the property holds", timeout - left(), branches)
    return Answer("timeout" if left() <= 0 else "unknown", doubts[0], timeout - left(), branches)


def _solved(network: OnnxNetwork, claim: Property, solve: Callable[..., Any], **options: Any) -> Any:
    """The result of solve(f, region, specification) for a property of a network."""
    dtype = network.dtype if fits_float32(claim.rows) else np.dtype(np.float64)  # what is proved is of the numbers in the files
    try:
        with jax.enable_x64(dtype == np.float64):
            specification = claim.specification(network.example_output_shape, dtype)
            return solve(network.function, claim.region(network.example_shape), specification, **options)
    except NotImplementedError as error:
        raise InputError(f"{network.path} cannot be bounded: {error}") from error


def confirmed(network: OnnxNetwork, onnx: str | os.PathLike, claim: Property, x: np.ndarray) -> tuple[np.ndarray, str]:
    """The output at x, and the doubt if x is no counterexample; "" if it is one.

    x must lie in the box, and its output must be unsafe in float64, and within `TOLERANCE` by onnxruntime if that is installed.
    The output is then onnxruntime's.
    """
    if not (np.all(claim.lower <= x.ravel()) and np.all(x.ravel() <= claim.upper)):
        return np.zeros(0), "the counterexample lies outside of the box"
    with jax.enable_x64(True):
        y = np.asarray(network(jnp.asarray(x[None], jnp.float64))).reshape(1, -1)
    if not claim.is_unsafe(y)[0]:
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
    return y, "" if claim.is_unsafe(y, TOLERANCE * scale)[0] else "onnxruntime does not confirm the counterexample"


def _check_fit(network: OnnxNetwork, properties: Sequence[Property], vnnlib: str | os.PathLike) -> None:
    sizes = [("inputs", "X", int(np.prod(network.input_shape)), len(properties[0].lower))]
    sizes.append(("outputs", "Y", int(np.prod(network.output_shape)), properties[0].rows.shape[1]))
    for noun, letter, has, declared in sizes:
        if has != declared:
            last = f"{letter}_0 to {letter}_{declared - 1}"
            raise InputError(f"{vnnlib} declares {last}, but {network.path} has {has} {noun}")
