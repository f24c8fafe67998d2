"""Checks of arguments: images, labels, logits, radii and keys. Attacks, margins, measures and evaluations share them.

Shapes and dtypes are always checked, numbers only where they are known: those of traced arrays, as inside of `jax.jit`, are not.
"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dsrna_jax.errors import InputError, shown


def is_known(*values: Any) -> bool:
    """Whether all values are concrete: none of them is traced."""
    tracer = jax.core.Tracer  # pyright: ignore[reportAttributeAccessIssue] (the only public name of tracers)
    return not any(isinstance(value, tracer) for value in values)


def is_staged() -> bool:
    """Whether operations become part of a program here, as inside of `jax.jit`, even on values that are not traced."""
    return not is_known(jnp.zeros(()))


def check_images(images: Any) -> None:
    """Raises: InputError unless images are floating point [batch, ...], at least one, and in [0, 1] where they are known."""
    if not jnp.issubdtype(images.dtype, jnp.floating) or images.ndim < 2:
        advice = ": divide bytes by 255" if jnp.issubdtype(images.dtype, jnp.integer) else ""
        raise InputError(f"images must be floating point [batch, ...] in [0, 1], got {images.dtype} {images.shape}{advice}")
    if not images.size:
        raise InputError(f"no images to attack or to certify: expected at least one, got shape {images.shape}")
    if not is_known(images):
        return
    numbers = _numbers(images)
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0 and high <= 1:
        return
    if np.isnan(low):
        bad = np.flatnonzero(np.isnan(numbers).reshape(len(numbers), -1).any(1))
        raise InputError(f"images must be in [0, 1], got NaN in {len(bad)} of {len(numbers)} images, first in image {bad[0]}")
    is_rounding = low > -1e-3 and high < 1 + 1e-3
    advice = "cut them by jnp.clip(images, 0, 1)" if is_rounding else "divide bytes by 255, do not normalise outside of logits_fn"
    raise InputError(f"images must be in [0, 1], got values from {low:.9g} to {high:.9g}: {advice}")


def check_labels(labels: Any, batch: int, classes: int | None = None, *, name: str = "labels") -> None:
    """Raises: InputError unless labels are one integer for each of `batch` images, in 0 .. classes - 1 where they are known.

    Labels are checked as they are given: made a JAX array before, those of 64 bits would be cut to 32.
    """
    labels = _as_array(labels, name)
    is_integer = jnp.issubdtype(labels.dtype, jnp.integer)
    if labels.shape != (batch,) or not is_integer:
        advice = ""
        if labels.ndim == 2 and labels.shape[0] == batch and labels.shape[1] in (classes, 1, batch):
            advice = ": drop the last axis" if labels.shape[1] == 1 else ": of one-hot labels take labels.argmax(1)"
        elif labels.ndim == 2:
            advice = ": of one-hot labels take labels.argmax(1)"
        elif labels.shape == (batch,):
            advice = ": give the numbers of classes, as by labels.astype(int)"
        images = f"{batch} image{'s' if batch != 1 else ''}"
        raise InputError(f"{name} must be integers, one for each of {images}, got {labels.dtype} {labels.shape}{advice}")
    if classes is None or not is_known(labels):
        return
    low, high = int(np.asarray(labels).min()), int(np.asarray(labels).max())
    if low < 0 or high >= classes:
        advice = ": subtract 1" if (low, high) == (1, classes) else ": leave out images without a label" if low == -1 else ""
        raise InputError(
            f"{name} go from {low} to {high}, but the network has {classes} classes: expected 0 to {classes - 1}{advice}"
        )


def class_count(logits: Any, batch: int) -> int:
    """The number of classes of logits, an array or its shape.

    Raises: InputError unless they are floating point [batch, 2 classes or more].
    """
    shape, dtype = getattr(logits, "shape", None), getattr(logits, "dtype", None)
    if shape is None or dtype is None:
        got = jax.tree.map(lambda part: getattr(part, "shape", part), logits)
        raise InputError(f"expected logits [{batch}, classes] and nothing else, got {got}: leave out auxiliary outputs")
    if len(shape) != 2 or shape[0] != batch or shape[1] < 2 or not jnp.issubdtype(dtype, jnp.floating):
        is_single = tuple(shape) in ((batch,), (batch, 1))
        advice = ": for one logit z give the two logits jnp.stack([jnp.zeros(len(images)), z], 1)" if is_single else ""
        raise InputError(f"expected logits [{batch}, classes] of 2 classes or more, floating point, got {dtype} {shape}{advice}")
    return shape[1]


def check_logits(logits: Any) -> None:
    """Raises: InputError if known logits [batch, classes] are NaN or infinite; -inf may mask classes, but not all of them."""
    if not is_known(logits):
        return
    highest = _numbers(logits).max(1)
    bad = np.flatnonzero(~np.isfinite(highest))
    if len(bad):
        raise InputError(
            f"logits are not finite for {len(bad)} of {len(highest)} images, first for image {bad[0]}: "
            "expected those of a network whose training went well"
        )


def are_probabilities(logits: Any) -> bool:
    """Whether known outputs [batch, classes] are all in [0, 1], as of a softmax or sigmoid, or percentages with sum 100."""
    numbers, precision = _numbers(logits), 4 * float(jnp.finfo(logits.dtype).eps)
    if not numbers.min() >= 0:
        return False
    return bool(numbers.max() <= 1 + precision or np.allclose(numbers.sum(1), 100, rtol=max(precision, 1e-3), atol=0))


def warn_of_probabilities(logits: Any) -> None:
    """Warns if known outputs are probabilities: attacks climb logits, and find less where a softmax comes before the loss."""
    if is_known(logits) and are_probabilities(logits):
        warnings.warn(
            "logits_fn returns probabilities, or other numbers in [0, 1], and attacks on these are weaker: leave out softmax or "
            "sigmoid, or take jnp.log",
            UserWarning,
            stacklevel=2,
        )


def check_radius(
    radius: Any, batch: int | None, *, name: str = "radius", is_finite: bool = False, is_positive: bool = False, norm: str = ""
) -> None:
    """Raises: InputError unless a radius is a number or [batch], and where it is known at least 0.

    Without `batch` only a number will do. Infinity is no radius if `is_finite`, nor 0 if `is_positive`, nor more than the whole
    range of pixels if `norm` is "linf", as 8 for 8/255 is.
    """
    expected = f"{name} must be a number" + (f" or one for each of the {batch} examples" if batch is not None else "")
    try:
        shape, dtype = np.shape(radius), jnp.result_type(radius if radius is not None else object)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{expected}, got {shown(radius)}") from None
    if shape not in ((), (batch,)) or not is_real(radius):
        raise InputError(f"{expected}, got {dtype} of shape {list(shape)}")
    if not is_known(radius):
        return
    numbers = _numbers(radius)
    if is_positive and not numbers.min() > 0:
        raise InputError(f"{name} must be more than 0, got {numbers.min():g}")
    if not numbers.min() >= 0:
        raise InputError(f"{name} must be at least 0, got {numbers.min():g}")
    if is_finite and numbers.max() == np.inf:
        advice = ": in linf a radius of 1 is the whole range of pixels" if name == "radius" else ""
        raise InputError(f"{name} must be finite, got inf{advice}")
    if norm == "linf" and 1 < (highest := numbers.max()) < np.inf:
        raise InputError(f"{name}={highest:g}: expected at most 1 in linf, because pixels are in [0, 1]; for 8/255 give 0.0314")


def check_clip(clip: Any) -> None:
    """Raises: InputError unless clip is None or (low, high), numbers in that order."""
    are_numbers = isinstance(clip, tuple | list) and len(clip) == 2 and all(np.ndim(c) == 0 and is_real(c) for c in clip)
    if clip is not None and not (are_numbers and (not is_known(*clip) or clip[0] < clip[1])):
        raise InputError(f"clip must be (low, high), got {shown(clip)}")


def is_real(value: Any) -> bool:
    """Whether a value is a real number or an array of such, traced or not."""
    dtype = getattr(value, "dtype", None)
    dtype = np.asarray(value).dtype if dtype is None else dtype
    return jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)


def check_counts(least: int = 1, **counts: Any) -> None:
    """Raises: InputError unless the counts that are known are integers, not 3.0, of at least `least`; None is not checked."""
    for name, count in counts.items():
        if count is None or not is_known(count):
            continue
        if np.ndim(count) != 0 or np.asarray(count).dtype.kind not in "iu" or count < least:
            raise InputError(f"{name}={shown(count)}: expected at least {least}, a whole number (int)")


def checked_key(key: Any, *, is_single: bool = False) -> jax.Array:
    """A random key or an array of them, typed as `jax.random.key` does; old ones, as of `jax.random.PRNGKey`, are wrapped.

    Raises: InputError if it is None, an integer, or anything else that is no key; with `is_single` also if it is several.
    """
    if key is None:
        raise InputError("this draws at random: expected a key such as jax.random.key(0), got None")
    dtype = getattr(key, "dtype", None)
    if dtype == jnp.uint32 and key.ndim in (1, 2) and key.shape[-1] == jax.random.key_data(jax.random.key(0)).size:
        key = jax.random.wrap_key_data(key)
    if dtype is not None and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and not (is_single and key.ndim):
        return key
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        raise InputError(f"expected one random key, got keys {key.shape}")
    if isinstance(key, int) or (dtype is not None and np.ndim(key) == 0 and jnp.issubdtype(dtype, jnp.integer)):
        seed = key if is_known(key) else "seed"
        raise InputError(f"expected a random key, got the integer {seed}: give jax.random.key({seed})")
    if isinstance(key, float) or (dtype is not None and jnp.issubdtype(dtype, jnp.floating)):
        number = f"{float(key):g}" if np.ndim(key) == 0 and is_known(key) else "..."
        raise InputError(f"expected a random key, got a number: options such as radius are keyword only, give radius={number}")
    raise InputError(f"expected a random key such as jax.random.key(0), got {dtype or type(key).__name__} {np.shape(key)}")


def check_key(key: Any) -> None:
    """Raises: InputError, as `checked_key`, for an optional or ignored key that is none, such as a radius in its place."""
    if key is not None:
        checked_key(key)


def _as_array(values: Any, name: str) -> Any:
    """The values themselves if they are an array, traced or not, else one of NumPy. Raises: InputError if they are none."""
    if hasattr(values, "dtype"):
        return values
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be an array: {str(error).splitlines()[0]}") from None


def _numbers(values: Any) -> np.ndarray:
    """Numbers in NumPy, floating point, at least in float32."""
    values = np.asarray(values)
    return values.astype(np.float32) if values.dtype.itemsize < 4 or values.dtype.kind in "iu" else values
