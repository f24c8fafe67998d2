"""Bounds of dense relu networks in numpy, written from the papers and without a graph, for tests to compare with.

A network is a list of (weights [out, in], offset [out]); relu stands between them. One example at a time.
"""

import itertools

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

DUAL = {"linf": 1, "l2": 2, "l1": np.inf}


def least_in_ball(coefficients, x, radius, norm):
    """Minimum of <coefficients, x'> over the ball."""
    return coefficients @ x - radius * dual_norm(coefficients, norm)


def dual_norm(rows, norm):
    """Dual norm over the last axis, analytic in complex rows (for complex-step derivatives)."""
    if norm == "linf":
        return (rows * np.sign(rows.real)).sum(-1)
    if norm == "l2":
        return np.sqrt((rows * rows).sum(-1))
    largest = np.abs(rows.real).argmax(-1)[..., None]
    picked = np.take_along_axis(rows, largest, -1)[..., 0]
    return picked * np.sign(picked.real)


def interval_bounds(layers, x, radius, norm):
    """(lower, upper) of every layer before its relu, by intervals; exact for the first layer."""
    weights, offset = layers[0]
    middle, half = weights @ x + offset, radius * dual_norm(weights, norm)
    sides = [(middle - half, middle + half)]
    for weights, offset in layers[1:]:
        lower, upper = (np.maximum(side, 0) for side in sides[-1])
        middle, half = (lower + upper) / 2, (upper - lower) / 2
        sides.append((weights @ middle + offset - np.abs(weights) @ half, weights @ middle + offset + np.abs(weights) @ half))
    return sides


def linear_lower(layers, between, x, radius, norm, rows, slopes):
    """Lower bounds of rows @ (last layer), by linear relaxations of the relus on the bounds `between`.

    slopes: (layer, lower, upper) -> slopes of the lower planes.
    """
    weights, offset = layers[-1]
    bias, rows = rows @ offset, rows @ weights
    for i in range(len(layers) - 2, -1, -1):
        lower, upper = between[i]
        active, unstable = lower >= 0, (lower < 0) & (upper > 0)
        steep = np.where(unstable, upper / np.where(unstable, upper - lower, 1), active)
        below = np.where(unstable, slopes(i, lower, upper), active)
        positive, negative = np.where(rows.real > 0, rows, 0), np.where(rows.real < 0, rows, 0)
        bias = bias + (negative * np.where(unstable, -steep * lower, 0)).sum(-1)
        rows = positive * below + negative * steep
        weights, offset = layers[i]
        bias, rows = bias + rows @ offset, rows @ weights
    return bias + least_in_ball(rows, x, radius, norm)


def adaptive(i, lower, upper):
    return (upper > -lower).astype(float)


def parallel(i, lower, upper):
    return upper / np.where(upper > lower, upper - lower, 1)


def backward_bounds(layers, x, radius, norm, slopes, iterations=0):
    """(lower, upper) of every layer before its relu, by backward passes, or by intervals where those are tighter.

    iterations: steps that optimise the slopes of the passes of undecided entries.
    """
    sides = interval_bounds(layers[:1], x, radius, norm)
    for depth in range(2, len(layers) + 1):
        weights, offset = layers[depth - 1]
        lower, upper = (np.maximum(side, 0) for side in sides[-1])
        middle, half = weights @ (lower + upper) / 2 + offset, np.abs(weights) @ (upper - lower) / 2
        eye = np.eye(len(offset))
        least, greatest = (sign * linear_lower(layers[:depth], sides, x, radius, norm, sign * eye, slopes) for sign in (1, -1))
        for i, row in enumerate(eye if iterations else ()):
            if middle[i] - half[i] < 0 < middle[i] + half[i]:
                climbed = (_climbed(layers[:depth], sides, x, radius, norm, sign * row[None], iterations) for sign in (1, -1))
                least[i], greatest[i] = max(least[i], next(climbed)), min(greatest[i], -next(climbed))
        sides.append((np.maximum(least, middle - half), np.minimum(greatest, middle + half)))
    return sides


def folded_lower(layers, between, rows):
    """Lower bounds of rows @ (last layer), by the intervals of the layer before."""
    if len(layers) == 1:
        return np.full(len(rows), -np.inf)
    weights, offset = layers[-1]
    lower, upper = (np.maximum(side, 0) for side in between[len(layers) - 2])
    rows_in = rows @ weights
    return rows @ offset + np.maximum(rows_in, 0) @ lower + np.minimum(rows_in, 0) @ upper


def lower_bounds(method, layers, x, radius, norm, rows, iterations=0):
    """Lower bounds of rows @ (last layer): [row]."""
    by_intervals = interval_bounds(layers, x, radius, norm)
    if method == "ibp":
        return folded_lower(layers, by_intervals, rows)
    if method == "crown_ibp":
        passed = linear_lower(layers, by_intervals, x, radius, norm, rows, adaptive)
        return np.maximum(passed, folded_lower(layers, by_intervals, rows))
    slopes = parallel if method == "fastlin" else adaptive
    optimised = iterations if method == "alpha_crown" else 0
    between = backward_bounds(layers[:-1], x, radius, norm, slopes, optimised)
    best = np.maximum(linear_lower(layers, between, x, radius, norm, rows, slopes), folded_lower(layers, between, rows))
    if method != "fastlin":
        best = np.maximum(best, lower_bounds("crown_ibp", layers, x, radius, norm, rows))
    if method == "alpha_crown":
        best = np.maximum(best, [_climbed(layers, between, x, radius, norm, row[None], iterations) for row in rows])
    return best


def _climbed(layers, between, x, radius, norm, row, iterations):
    """Adam on the lower slopes of one row, until it has not gained for five steps; gradients by complex steps."""
    alphas = np.concatenate([adaptive(i, *between[i]) for i in range(len(layers) - 1)])
    starts = np.cumsum([0] + [len(between[i][0]) for i in range(len(layers) - 1)])

    def bound(alphas):
        return linear_lower(layers, between, x, radius, norm, row, lambda i, *_: alphas[starts[i] : starts[i + 1]])[0]

    first, second, best = np.zeros_like(alphas), np.zeros_like(alphas), -np.inf
    idle = 0
    for step in range(iterations):
        now = bound(alphas)
        idle = 0 if now > best + 1e-3 * abs(best) else idle + 1
        best = max(best, now)
        if idle == 5:
            return best
        gradient = -np.array([bound(alphas + 1e-30j * unit).imag / 1e-30 for unit in np.eye(len(alphas))])
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        size = (first / (1 - 0.9 ** (step + 1))) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-8)
        alphas = np.clip(alphas - 0.5 * 0.98**step * size, 0, 1)
    return max(best, bound(alphas))


def exact_least(layers, x, radius, row):
    """Exact minimum of row @ (last layer) over the l-infinity ball, by a linear program for each pattern of active relus.

    A pattern is followed from layer to layer, until no input of the ball has it, or intervals say that it has no lower value
    than a pattern before, or than points of the ball.
    """
    inside = np.random.default_rng(0).uniform(-1, 1, (1000, len(x)))
    values = x + radius * np.concatenate([list(itertools.product((-1, 1), repeat=len(x))), inside])
    for i, (weights, bias) in enumerate(layers):
        values = (np.maximum(values, 0) if i else values) @ weights.T + bias
    best = (values @ row).min()

    def follow(layers, slope, offset, upper, limit):
        """Lowers `best` to the minimum where upper @ input <= limit: slope @ input + offset is what the first layer is given."""
        nonlocal best
        (weights, bias), *rest = layers
        slope, offset = weights @ slope, weights @ offset + bias
        middle, half = slope @ x + offset, radius * np.abs(slope).sum(1)
        low, high = middle - half, middle + half
        if _least_by_intervals(rest, low, high, row) >= best:
            return
        goal = np.zeros(len(x)) if rest else row @ slope
        among = LinearConstraint(upper, -np.inf, limit) if len(upper) else ()
        solution = milp(goal, constraints=among, bounds=Bounds(x - radius, x + radius))  # of reals alone
        if solution.status != 0:
            return
        if not rest:
            best = min(best, solution.fun + row @ offset)
            return
        sides = [[side for side, has in ((0, least <= 0), (1, most > 0)) if has] for least, most in zip(low, high, strict=True)]
        for pattern in itertools.product(*sides):
            active = np.array(pattern)
            sign = np.where(active, -1.0, 1.0)
            rows, ends = np.concatenate([upper, sign[:, None] * slope]), np.concatenate([limit, -sign * offset])
            follow(rest, active[:, None] * slope, active * offset, rows, ends)

    follow(layers, np.eye(len(x)), np.zeros(len(x)), np.zeros((0, len(x))), np.zeros(0))
    return best


def _least_by_intervals(layers, low, high, row):
    """A lower bound of row @ (last layer) where relus of values from low to high enter the first of these layers."""
    for weights, bias in layers:
        low, high = np.maximum(low, 0), np.maximum(high, 0)
        middle, half = weights @ (low + high) / 2 + bias, np.abs(weights) @ (high - low) / 2
        low, high = middle - half, middle + half
    return np.where(row > 0, low, high) @ row
