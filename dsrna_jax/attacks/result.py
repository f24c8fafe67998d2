"""What an attack takes and gives: per-example keys, the gradient of a loss, and the result."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from dsrna_jax.attacks import ball
from dsrna_jax.errors import InputError


class AttackResult(NamedTuple):
    """What an attack found for each example.

    x_adv: [batch, ...], in the ball and in the box: a misclassified point, if one was met, else the attack's best try.
    success: [batch] bool, whether the network misclassifies x_adv.
    distance: [batch], the norm of x_adv - x.
    loss: [batch], the highest value of what the attack climbs that it met; of attacks that look for the smallest perturbation,
      minus its size (-inf if they met none).
    steps: [batch] int32, how many gradients (for `square`, forward passes) were spent on the example.
    """

    x_adv: Array
    success: Array
    distance: Array
    loss: Array
    steps: Array


def result(x: Array, x_adv: Array, success: Array, loss: Array, steps: Array | int, norm: str) -> AttackResult:
    """An AttackResult, its distance measured; `steps` may be one number for all."""
    steps = jnp.broadcast_to(jnp.asarray(steps, jnp.int32), success.shape)
    return AttackResult(x_adv, success, ball.size(x_adv - x, norm), loss, steps)


def worst(first: AttackResult, second: AttackResult) -> AttackResult:
    """For each example the stronger of two results: a success before none, then the higher loss; steps add up."""
    better = jnp.where(first.success == second.success, second.loss > first.loss, second.success)
    chosen = jax.tree.map(lambda old, new: ball.pick(better, new, old), first, second)
    return chosen._replace(loss=jnp.maximum(first.loss, second.loss), steps=first.steps + second.steps)


def repeated(run: Callable[[Array | int], AttackResult], times: int, x: Array) -> AttackResult:
    """For each example the worst of run(0), ..., run(times - 1), which are compiled once."""
    if times == 1:
        return run(0)
    count = jnp.zeros(len(x), jnp.int32)
    nothing = AttackResult(x, count > 0, count.astype(x.dtype), jnp.full(len(x), -jnp.inf, x.dtype), count)
    return lax.fori_loop(0, times, lambda i, found: worst(found, run(i)), nothing)


def checked(x: Array, y: Array) -> tuple[Array, Array]:
    """Images and labels as arrays. Raises: InputError if they are not floating point [batch, ...] and integer [batch]."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise InputError(f"x must be floating point [batch, ...] with pixels in [0, 1], got {x.dtype} {x.shape}")
    if y.shape != x.shape[:1] or not jnp.issubdtype(y.dtype, jnp.integer):
        raise InputError(f"y must be integer labels, one for each of {len(x)} examples, got {y.dtype} {y.shape}")
    return x, y


def example_keys(key: Array | None, examples: int | Array) -> Array:
    """One key for each example, so that what it draws depends on no other.

    Args:
      key: one key, folded with the number of each example; or keys [batch], taken as they are.
      examples: the size of the batch, or the numbers [batch] of its examples in the whole data set.
    """
    if key is None:
        raise InputError("this attack draws at random: expected a key such as jax.random.key(0), got None")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if jax.random.key_impl(key) != "threefry2x32" and not key.ndim:
        # Other generators draw for the batch as a whole.
        key = jax.random.key(jax.random.bits(key), impl="threefry2x32")
    if key.ndim:
        return key
    return folded(key, jnp.arange(examples) if isinstance(examples, int) else jnp.asarray(examples))


def folded(keys: Array, number: Array | int) -> Array:
    """Each key folded with `number`, which may be one for all; one key with many numbers gives many."""
    keys, number = jnp.broadcast_arrays(keys, jnp.asarray(number, jnp.uint32))
    return jax.vmap(jax.random.fold_in)(keys, number) if keys.ndim else jax.random.fold_in(keys, number)


def climb(logits_fn, loss, x, y):
    """Logits [batch, class], loss [batch] and its gradient by x, each example by itself."""

    def total(x):
        logits = logits_fn(x)
        values = loss(logits, y)
        return values.sum(), (logits, values)

    gradient, (logits, values) = jax.grad(total, has_aux=True)(x)
    return logits, values, gradient


def is_fooled(logits: Array, y: Array) -> Array:
    """[batch]: whether the highest logit is not that of y."""
    return logits.argmax(1) != y
