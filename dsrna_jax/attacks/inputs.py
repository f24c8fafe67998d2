"""Checks of the arguments that attacks share, and the one precision in which attacks compute."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from dsrna_jax import inputs
from dsrna_jax.attacks import ball
from dsrna_jax.attacks.result import AttackResult, LogitsFn
from dsrna_jax.errors import InputError
from dsrna_jax.kernels.borders import derived_once
from dsrna_jax.kernels.own_convolutions import with_own_convolutions

Arguments = ParamSpec("Arguments")


class AttackedNetwork:
    """A network whose points and logits have one dtype inside of attacks, whatever `logits_fn` takes and returns.

    dtype: the widest of float32, the images' and the logits'. Points reach `logits_fn` in the images' own dtype; if that is
      narrower they are rounded towards the image, so that none leaves its ball by rounding.

    Its convolutions are those of this package, whose derivatives take a fraction of the time in the loops of attacks on a CPU.
    """

    def __init__(self, logits_fn: LogitsFn, images: Array, dtype: Any):
        self.logits_fn, self.images, self.dtype = with_own_convolutions(logits_fn), images, dtype

    def __call__(self, points: Array, *key: Array) -> Array:
        return self.logits_fn(derived_once(self.rounded(points)), *key).astype(self.dtype)

    def rounded(self, points: Array) -> Array:
        """The points as the network gets them."""
        return points if self.images.dtype == self.dtype else _towards(points, self.images)


def on_checked_inputs(attack: Callable[Arguments, AttackResult]) -> Callable[Arguments, AttackResult]:
    """A decorator of attacks: checks the arguments that all of them share, and gives them images and logits of one dtype.

    The attack is called with an `AttackedNetwork` in place of `logits_fn`, with images of its dtype, labels as a JAX array;
    points of its result come back in the dtype of the images that were given. An attack inside of another checks nothing again.

    Raises: InputError, in one line, unless images, labels, `target`, `x_init`, radius, norm and logits are as `dsrna_jax.attacks`
      says, and no target is the label. Outside of `jax.jit` this computes the logits of the images themselves: they must not be
      NaN or infinite, except that -inf may mask classes. Warns if they are probabilities.
    """
    signature = inspect.signature(attack)
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}

    @functools.wraps(attack)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> AttackResult:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if isinstance(given["logits_fn"], AttackedNetwork):
            return attack(*args, **kwargs)
        images = _images(given["images"])
        inputs.check_images(images)
        inputs.check_labels(given["labels"], len(images))
        inputs.check_key(given["key"])
        _check_options(given, images, defaults)
        network = _checked_network(given, images)
        given |= {"logits_fn": network, "images": images.astype(network.dtype)}
        given |= {name: jnp.asarray(given[name]) for name in ("labels", "target") if given.get(name) is not None}
        result = attack(*bound.args, **bound.kwargs)
        if images.dtype == network.dtype:
            return result
        x_adv = network.rounded(jnp.asarray(result.x_adv))
        return result._replace(x_adv=x_adv, distance=ball.size(x_adv.astype(network.dtype) - given["images"], given["norm"]))

    return checked


def _images(images: Any) -> Array:
    try:
        return jnp.asarray(images)
    except (TypeError, ValueError) as error:
        raise InputError(f"images must be an array: {str(error).splitlines()[0]}") from None


def _check_options(given: dict[str, Any], images: Array, defaults: dict[str, Any]) -> None:
    """Raises: InputError unless norm, radius, counts, numbers and `x_init` are as attacks take them.

    Numbers are all options of which the default is one: NaN, infinity or less than 0 would leave every image robust.
    """
    ball.check_norm(given["norm"])
    inputs.check_radius(given["radius"], len(images), is_finite=defaults["radius"] != jnp.inf, norm=given["norm"])
    if given.get("step_size") is not None:
        inputs.check_radius(given["step_size"], len(images), name="step_size", is_finite=True)
    for name, default in defaults.items():
        if isinstance(default, float) and name != "radius":
            inputs.check_radius(given[name], None, name=name, is_finite=True)
    counts = ("restarts", "targets", "searches", "draws")
    inputs.check_counts(1, **{name: given.get(name) for name in counts})
    inputs.check_counts(0, steps=given.get("steps"))
    x_init = given.get("x_init")
    if x_init is not None:
        if np.shape(x_init) != images.shape:
            raise InputError(f"x_init must have the shape of the images, {images.shape}, got {np.shape(x_init)}")
        if inputs.is_known(x_init) and not np.isfinite(np.asarray(x_init, np.float32)).all():
            raise InputError("x_init must be finite, got NaN or infinity")


def _checked_network(given: dict[str, Any], images: Array) -> AttackedNetwork:
    """The wrapped network. Raises: InputError unless its outputs are logits, of classes to which labels and targets belong."""
    logits_fn, call = given["logits_fn"], given["logits_fn"]
    if (given.get("draws") or 1) > 1:  # a stochastic network

        def call(images):
            return logits_fn(images, jax.random.key(0))

    if is_staged := inputs.is_staged() or not inputs.is_known(images):
        logits = jax.eval_shape(call, images)
    else:
        logits = jax.jit(call)(images)
    classes = inputs.class_count(logits, len(images))
    inputs.check_labels(given["labels"], len(images), classes)
    if given.get("target") is not None:
        inputs.check_labels(given["target"], len(images), classes, name="target")
        _check_differ(given["target"], given["labels"])
    if not is_staged:
        inputs.check_logits(logits)
        inputs.warn_of_probabilities(logits)
    return AttackedNetwork(logits_fn, images, widest(images, logits))


def _check_differ(target: Any, labels: Any) -> None:
    """Raises: InputError if a known target is the label, towards which no attack fools: such images would count as robust."""
    if inputs.is_known(target, labels) and len(same := np.flatnonzero(np.asarray(target) == np.asarray(labels))):
        raise InputError(f"target equals the label of {len(same)} images, first of image {same[0]}: expected another class")


def widest(images: Any, logits: Any) -> Any:
    """The dtype in which attacks compute: the widest of float32, the images' and the logits'."""
    return max(jnp.dtype(jnp.float32), images.dtype, logits.dtype, key=lambda dtype: dtype.itemsize)


@jax.custom_jvp
def _towards(points: Array, images: Array) -> Array:
    """Points rounded to the dtype of the images, never away from their image. Derivatives are those of a cast."""
    nearest, centre = points.astype(images.dtype), images.astype(points.dtype)
    is_farther = jnp.abs(nearest.astype(points.dtype) - centre) > jnp.abs(points - centre)
    return jnp.where(is_farther, jnp.nextafter(nearest, images), nearest)


@_towards.defjvp
def _towards_jvp(primals, tangents):
    return _towards(*primals), tangents[0].astype(primals[1].dtype)
