"""Square attack (Andriushchenko et al. 2020, arXiv:1912.00049): random search by squares, which needs no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from dsrna_jax.attacks import ball
from dsrna_jax.attacks.inputs import on_checked_inputs
from dsrna_jax.attacks.keys import KeyOrKeys, example_keys, folded
from dsrna_jax.attacks.losses import margin_loss
from dsrna_jax.attacks.result import AttackResult, LogitsFn, is_fooled, result
from dsrna_jax.errors import InputError


@on_checked_inputs
def square(
    logits_fn: LogitsFn,
    images: Float[ArrayLike, "batch height width channel"],
    labels: Int[ArrayLike, " batch"],
    key: KeyOrKeys | None = None,
    *,
    radius: ArrayLike,
    norm: str = "linf",
    steps: int | Array = 5000,
    share: float = 0.8,
) -> AttackResult:
    """Tries `steps` squares and keeps each that lowers the margin; arguments as in `dsrna_jax.attacks`.

    An example stays as it is once it is misclassified; `steps` of the result counts its forward passes until then. Squares are
    drawn for each example (in the PyTorch code for the batch), at every position (there never at the far border).

    Args:
      steps: may be traced.
      share: of the pixels that the first squares cover, in (0, 1]; halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000
        steps.
    Raises: InputError, as all attacks, and unless images are [batch, height, width, channel] and `share` in (0, 1].
    """
    images, labels = jnp.asarray(images), jnp.asarray(labels)
    if images.ndim != 4:
        raise InputError(f"square needs images [batch, height, width, channel], got {images.shape}")
    if not 0 < share <= 1:
        raise InputError(f"share={share}: expected a share of the pixels in (0, 1]")
    keys, radius = example_keys(key, len(images)), jnp.broadcast_to(jnp.asarray(radius, images.dtype), len(images))
    halvings = jnp.asarray(_HALVINGS)
    first, changed = (_linf if norm == "linf" else _l2)(images.shape[1:], share)

    def tried(candidates, state):
        points, loss, fooled, spent = state
        logits = logits_fn(candidates)
        values, now = margin_loss(logits, labels), is_fooled(logits, labels)
        is_better = ~fooled & ((values > loss) | now)
        spent = spent + ~fooled
        return ball.pick(is_better, candidates, points), jnp.where(is_better, values, loss), fooled | now, spent

    def step(i, state):
        draw = jax.vmap(changed, (0, 0, 0, 0, None))
        return i + 1, tried(draw(folded(keys, i + 1), images, state[0], radius, jnp.searchsorted(halvings, i)), state)

    zeros = jnp.zeros(len(images), jnp.int32)
    untried = (images, jnp.full(len(images), -jnp.inf, images.dtype), zeros > 0, zeros)
    state = tried(jax.vmap(first)(folded(keys, 0), images, radius), untried)
    _, state = lax.while_loop(lambda s: (s[0] < steps) & ~s[1][2].all(), lambda s: step(*s), (0, state))
    points, loss, fooled, spent = state
    return result(images, points, fooled, loss, spent, norm)


_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # the last step of each phase but the last


def _sides(share, height, width):
    """The side of the squares in each phase."""
    sides = np.round(np.sqrt(share / 2.0 ** np.arange(len(_HALVINGS) + 1) * height * width)).astype(int)
    return np.clip(sides, 1, min(height, width))


def _linf(shape, share):
    """The functions (start, changed) of one example for linf.

    start: each column and channel moves by the radius, up or down.
    changed: a square moves by the radius, up or down.
    """
    sides = jnp.asarray(_sides(share, *shape[:2]))

    def start(key, image, radius):
        return jnp.clip(image + radius * _signs(key, (1, *shape[1:]), image.dtype), 0, 1)

    def changed(key, image, x_adv, radius, phase):
        place, sign = jax.random.split(key)
        square = _window(_corner(place, shape, sides[phase]), shape, sides[phase])
        change = 2 * radius * _signs(sign, shape[2:], image.dtype)[None, None]
        return jnp.clip(jnp.clip(jnp.where(square, x_adv + change, x_adv), image - radius, image + radius), 0, 1)

    return start, changed


def _l2(shape, share):
    """The functions (start, changed) of one example for l2.

    start: a grid of bumps.
    changed: adds a bump in one window, and erases another window to keep the norm.
    """
    height, width, channels = shape
    sides = np.minimum(np.maximum(_sides(share, height, width), 3) // 2 * 2 + 1, min(height, width))
    canvases = np.zeros((len(sides), 2, 2 * height, 2 * width), np.float32)  # a bump and its transpose, in the middle of each
    for canvas, side in zip(canvases, sides, strict=True):
        canvas[:, height : height + side, width : width + side] = _bump(side), _bump(side).T

    def start(key, image, radius):
        side = max(height // 5, 1)
        row, column = (i - (height - 5 * side) // 2 for i in np.indices((height, width)))
        is_inside = (row >= 0) & (row < height // side * side) & (column >= 0) & (column < width // side * side)
        turn, sign = jax.random.split(key)
        tile, place = (row // side, column // side), (row % side, column % side)
        turned = jax.random.bernoulli(turn, shape=(height, width))[tile]
        bumps = jnp.where(turned, _bump(side).T[place], _bump(side)[place]) * is_inside
        delta = bumps[..., None].astype(image.dtype) * _signs(sign, shape, image.dtype)[tile]
        return jnp.clip(image + radius * _unit(delta), 0, 1)

    def changed(key, image, x_adv, radius, phase):
        here, there, turn, sign = jax.random.split(key, 4)
        side, delta = jnp.asarray(sides)[phase], x_adv - image
        corner = _corner(here, shape, side)
        window, erased = _window(corner, shape, side), _window(_corner(there, shape, side), shape, side)
        canvas = jnp.asarray(canvases, image.dtype)[phase, jax.random.bernoulli(turn).astype(int)]
        bump = lax.dynamic_slice(canvas, (height - corner[0], width - corner[1]), (height, width))
        old = jnp.where(window, delta, 0)
        new = bump[..., None] * _signs(sign, shape[2:], image.dtype)[None, None] + old / (1e-12 + jnp.sqrt(_energy(old)))
        spare = jnp.maximum(radius**2 - jnp.square(delta).sum(), 0) / channels
        energy = spare + _energy(jnp.where(window | erased, delta, 0))
        new = new / (1e-12 + jnp.sqrt(_energy(new))) * jnp.sqrt(energy)
        delta = jnp.where(window, new, jnp.where(erased, 0, delta))
        return jnp.clip(image + radius * _unit(delta), 0, 1)

    return start, changed


def _bump(side):
    """Two bumps of opposite sign, one above the other: [side, side], of l2 norm 1.

    Each is a sum of nested rectangles around its centre, the n-th of height 1 / n^2.
    """

    def half(rows):
        centre = rows // 2, side // 2
        ring = np.maximum(*(abs(i - c) for i, c in zip(np.indices((rows, side)), centre, strict=True)))
        heights = np.cumsum(1.0 / np.arange(max(centre) + 1, 0, -1) ** 2)[::-1]  # of the ring 0, 1, ...
        bump = heights[ring]
        return bump / max(np.linalg.norm(bump), 1e-12)

    bump = np.concatenate([half(side // 2), -half(side - side // 2)])
    return bump / np.linalg.norm(bump)


def _unit(delta):
    return ball.unit(delta[None], "l2")[0]


def _energy(part):
    """Sum of squares of each channel: [1, 1, channel]."""
    return jnp.square(part).sum((0, 1), keepdims=True)


def _signs(key, shape, dtype):
    return jax.random.rademacher(key, shape, dtype)


def _corner(key, shape, side):
    """The upper left pixel of a square, drawn uniformly from those at which it lies in the image: [2]."""
    return jax.random.randint(key, (2,), 0, jnp.array(shape[:2]) - side + 1)


def _window(corner, shape, side):
    """Whether each pixel is in the square: bool [height, width, 1]."""
    row, column = (i - c for i, c in zip(np.indices(shape[:2]), corner, strict=True))
    return ((row >= 0) & (row < side) & (column >= 0) & (column < side))[..., None]
