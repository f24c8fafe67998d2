"""Is an evaluation to be believed? Signs of gradient masking and of mistakes around the network, each PASS or WARN.

After Athalye, Carlini and Wagner 2018 (arXiv:1802.00420), Carlini et al. 2019 (arXiv:1902.06705) and Pintor et al. 2022
(arXiv:2106.09947). A warning does not say that a network is weak, but that its accuracy under attack may be too high.
"""

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.tree_util import Partial

from dsrna_jax.attacks import ball, example_keys, losses, square
from dsrna_jax.attacks.result import climb, folded
from dsrna_jax.attacks.series import Stage, as_partial, predicted, run_series
from dsrna_jax.evaluation.attack.budgets import fgsm_stage, noise_stage, pgd_stage, pixels

COST = 3000  # of all checks, in forward passes for an example, about
COUNT = 12  # of checks, without that by a surrogate
VANISHED = 1e-8
DRAWS = 50  # of the random noise
QUERIES = 1000  # of Square
BOUNDLESS = {"linf": lambda pixels: 1.0, "l2": lambda pixels: float(np.sqrt(pixels))}  # the whole box, from anywhere in it


class Check(NamedTuple):
    """One finding: `status` is "PASS" or "WARN", `value` the number that it rests on, `says` what the number is."""

    name: str
    status: str
    value: float | None
    says: str


def check(name: str, is_good: bool, value: float | None, says: str) -> Check:
    """A finding; a value that is not finite is none."""
    value = float(value) if value is not None and np.isfinite(value) else None
    return Check(name, "PASS" if is_good else "WARN", value, says)


def forward_checks(logits_fn: Callable, x: np.ndarray, radius: float, norm: str) -> Iterator[Check]:
    """What three forward passes of x [2 or more, ...], images as the attacks get them, tell."""
    network, low, high = as_partial(logits_fn), float(x.min()), float(x.max())
    says = f"pixels from {low:.3f} to {high:.3f}; radius {pixels(radius, norm)} in the same units"
    yield check("normalisation inside", low >= 0 and high <= 1 and high - low > 0.25, high - low, says)

    half = len(x) // 2
    here, there = (np.asarray(_logits(network, part)) for part in (x, np.concatenate([1 - x[half:], x[:half]])))
    with np.errstate(invalid="ignore"):  # logits may be anything
        moved = float(np.abs(here[:half] - there[len(x) - half :]).max() / max(np.ptp(here), 1e-30))
        spread = float(np.ptp(here, axis=1).mean())
    says = f"logits move by {moved:.1e} of their range when place and neighbours in the batch change"
    yield check("batch neighbours", moved < 1e-3, moved, says)

    is_probability = here.min() >= 0 and here.max() <= 1 and np.allclose(here.sum(1), 1, atol=1e-3)
    says = "outputs are probabilities, but attacks climb logits" if is_probability else f"they spread over {spread:.3g} (mean)"
    yield check("logits", not is_probability and np.isfinite(spread), spread, says)


def gradient_checks(logits_fn: Callable, x: np.ndarray, y: np.ndarray, key: Array, radius: float, norm: str) -> Iterator[Check]:
    """What gradients tell, of cross-entropy and margin, at x [batch, ...] and at random points of the ball around it."""
    network, keys = as_partial(logits_fn), example_keys(key, len(x))
    by_margin, by_entropy = np.asarray(_gradient_sizes(network, x, y, keys, np.float32(radius), norm=norm))
    # The gradient of cross-entropy is about 1 - p of the margin's; float32 knows p = 1 only up to 1e-7, and the rest is noise.
    shares = [float(np.mean(size <= VANISHED * by_margin)) for size in (by_entropy, by_margin)]
    says = f"{shares[0]:.1%} of those of cross-entropy vanish, {shares[1]:.1%} of those of the margin, at images and near them"
    yield check("zero gradients", max(shares) <= 0.05, max(shares), says)
    off = float(np.median(_gradient_errors(network, x, y, keys)))
    yield check("finite differences", off < 0.1, off, f"differ by {off:.1%} from the gradient of the margin (median)")


def attack_checks(
    logits_fn: Callable,
    x: np.ndarray,
    y: np.ndarray,
    key: Array,
    *,
    radius: float,
    norm: str,
    batch_size: int = 128,
    place: Callable[[Any], Any] = lambda batch: batch,
) -> Iterator[Check]:
    """What attacks tell that should be ordered; accuracies are those on all of x.

    Differences count from half a percent on, and from two examples.
    """
    network, total = as_partial(logits_fn), len(x)
    clean = predicted(network, x, batch_size) == y

    def left(stages: Sequence[Stage], robust=clean, radius=radius):
        """Who is left of `robust`."""
        options = {"radius": radius, "norm": norm, "batch_size": batch_size, "place": place}
        return _survivors(network, stages, x, y, key, robust, **options)

    def is_more(share, least=0.005):
        return share > max(least, 1.5 / total)

    fgsm, pgd = left([fgsm_stage()]), left([pgd_stage(20)])
    gap = pgd.mean() - fgsm.mean()
    says = f"PGD-20 leaves {pgd.mean():.1%}, FGSM {fgsm.mean():.1%}"
    yield check("PGD not above FGSM", not is_more(gap), gap, says)

    long = left([pgd_stage(100)], pgd)
    gap = pgd.mean() - long.mean()
    says = f"PGD-100 leaves {long.mean():.1%}, PGD-20 {pgd.mean():.1%}"
    yield check("convergence", not is_more(gap), gap, says)

    by_margin = left([pgd_stage(20, by_margin=True)])
    gap = pgd.mean() - by_margin.mean()
    says = f"PGD-20 leaves {by_margin.mean():.1%} by the margin, {pgd.mean():.1%} by cross-entropy"
    yield check("scale of the logits", not is_more(gap, 0.02), gap, says)

    survivors = long & by_margin
    fooled = survivors & ~left([noise_stage(DRAWS)], survivors)
    says = f"{DRAWS} random points fool {fooled.mean():.1%} of the images that PGD does not"
    yield check("random noise", not is_more(fooled.mean(), 0.002), fooled.mean(), says)

    if x.ndim == 4:
        fooled = survivors & ~left([Stage("square", square, numbers=(("steps", QUERIES),))], survivors)
        says = f"Square ({QUERIES} queries) fools {fooled.mean():.1%} of the images that PGD does not"
        yield check("black box", not is_more(fooled.mean(), 0.002), fooled.mean(), says)

    boundless = left([pgd_stage(20)], radius=BOUNDLESS[norm](x[0].size))
    says = f"PGD-20 leaves {boundless.mean():.1%} when any image may become any other"
    yield check("unbounded", not is_more(boundless.mean(), 0.01), boundless.mean(), says)

    shares = [left([pgd_stage(20)], radius=factor * radius).mean() for factor in (0.5, 1.5, 2.0)]
    shares.insert(1, pgd.mean())
    rise = max(np.diff(shares))
    says = f"PGD-20 leaves {', '.join(f'{share:.1%}' for share in shares)} at 0.5, 1, 1.5, 2 radii"
    yield check("growing radius", not is_more(rise), rise, says)


def transfer_check(
    logits_fn: Callable,
    surrogate: Callable,
    x: np.ndarray,
    y: np.ndarray,
    key: Array,
    *,
    radius: float,
    norm: str,
    batch_size: int = 128,
    place: Callable[[Any], Any] = lambda batch: batch,
) -> Check:
    """Whether PGD on another network, such as one of another seed, fools this one where PGD on itself does not.

    Its own gradients should tell more than those of a stranger; accuracies are those on all of x.
    """
    options = {"radius": radius, "norm": norm, "batch_size": batch_size, "place": place}
    clean = predicted(logits_fn, x, batch_size) == y
    survivors = _survivors(logits_fn, [pgd_stage(20)], x, y, key, clean, **options)
    moved = x.copy()
    for batch in run_series(surrogate, [pgd_stage(20)], x, y, key, robust=survivors.copy(), **options):
        moved[batch.indices] = batch.result.x_adv
    fooled = (survivors & (predicted(logits_fn, moved, batch_size) != y)).mean()
    says = f"PGD-20 on the surrogate fools {fooled:.1%} of the images that PGD-20 on the network does not"
    return check("transfer", fooled <= max(0.002, 1.5 / len(x)), fooled, says)


def checks(
    logits_fn: Callable,
    x: np.ndarray,
    y: np.ndarray,
    key: Array,
    *,
    radius: float,
    norm: str = "linf",
    batch_size: int = 128,
    place: Callable[[Any], Any] = lambda batch: batch,
    surrogate: Callable | None = None,
) -> Iterator[Check]:
    """All checks, each as soon as it is made.

    Args:
      logits_fn: as attacks take it; a `jax.tree_util.Partial` of it saves compiling for another checkpoint.
      surrogate: another network for the same images, if there is one.
      x: [examples, height, width, channel] float32 in [0, 1]; some hundred are enough. y: [examples] labels.
    """
    some = np.resize(np.arange(len(x)), max(2, min(batch_size, 64)))
    yield from forward_checks(logits_fn, x[some], radius, norm)
    yield from gradient_checks(logits_fn, x[some], y[some], key, radius, norm)
    options = {"radius": radius, "norm": norm, "batch_size": batch_size, "place": place}
    yield from attack_checks(logits_fn, x, y, key, **options)
    if surrogate is not None:
        yield transfer_check(logits_fn, surrogate, x, y, key, **options)


@jax.jit
def _logits(logits_fn: Partial, x: Array) -> Array:
    return logits_fn(x)


@functools.partial(jax.jit, static_argnames="norm")
def _gradient_sizes(logits_fn: Partial, x: Array, y: Array, keys: Array, radius: Array, *, norm: str) -> Array:
    """[2, 2, batch]: largest slope, of margin and cross-entropy, at x and at a random point; one backward pass is compiled."""
    points = jnp.stack([jnp.asarray(x), ball.uniform(keys, jnp.asarray(x), radius, norm)])

    def size(case):
        points, by_margin = case

        def loss(logits, y):
            return jnp.where(by_margin, losses.margin(logits, y), losses.cross_entropy(logits, y))

        return ball.size(climb(logits_fn, loss, points, y)[2], "linf")

    cases = (jnp.concatenate([points, points]), jnp.array([True, True, False, False]))
    return lax.map(size, cases).reshape(2, 2, -1)


@jax.jit
def _gradient_errors(logits_fn: Partial, x: Array, y: Array, keys: Array) -> Array:
    """[batch]: relative error of the margin's derivative in five random directions, against central differences."""
    step = 1e-3 * np.sqrt(x[0].size)
    x = jnp.clip(x, 0.005, 0.995)  # a pixel moves by 0.001 or so, and is not to leave the box
    gradient = climb(logits_fn, losses.margin, x, y)[2]
    directions = jnp.stack([ball.unit(ball.normal(folded(keys, i), x), "l2") for i in range(5)])
    values = lax.map(lambda moved: losses.margin(logits_fn(x + moved), y), step * jnp.concatenate([directions, -directions]))
    differences = (values[:5] - values[5:]) / (2 * step)
    slopes = (directions * gradient).reshape(5, len(x), -1).sum(2)
    size = jnp.maximum(ball.size(differences.T, "l2"), 1e-30)
    return ball.size((differences - slopes).T, "l2") / size


def _survivors(logits_fn, stages: Sequence[Stage], x, y, key, robust, **options):
    """Who of `robust` is left after all stages."""
    left = robust.copy()
    deque(run_series(logits_fn, stages, x, y, key, robust=left, **options), maxlen=0)  # runs all; they mark who falls
    return left
