"""Bounds over boxes, of specifications, and as linear functions of the input."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.bounds import refinement
from dsrna_jax.errors import InputError

rng = np.random.default_rng(0)
FIRST, SECOND = (rng.normal(size=shape).astype(np.float32) for shape in ((4, 8), (8, 3)))
LOWER = rng.uniform(-1, 0, size=(2, 4)).astype(np.float32)
BOX = bounds.Box(LOWER, LOWER + rng.uniform(0, 1, size=(2, 4)).astype(np.float32))
POINTS = LOWER + rng.uniform(size=(500, 2, 4)).astype(np.float32) * (BOX.upper - LOWER)
VALUES = np.maximum(POINTS @ FIRST, 0) @ SECOND
LABELS = np.array([0, 2])


def network(x):
    return jax.nn.relu(x @ FIRST) @ SECOND


@functools.cache
def over_the_box(name, method, where="middle"):
    f = getattr(bounds, name)
    at = {"middle": BOX.middle, "lower": BOX.lower}[where]
    return jax.tree.map(np.asarray, jax.jit(lambda box, x: f(network, x, box=box, method=method))(BOX, at))


@pytest.mark.parametrize("where", ["middle", "lower"])
@pytest.mark.parametrize("method", bounds.METHODS)
def test_bounds_over_a_box_hold_at_every_point_of_it(method, where):
    lower, upper = over_the_box("bound", method, where)
    assert np.all(lower <= VALUES) and np.all(VALUES <= upper)
    assert np.all(upper - lower < 4 * (VALUES.max(0) - VALUES.min(0)))


@pytest.mark.parametrize("method", ["ibp", "crown", "hz_crown"])
def test_a_box_of_one_width_bounds_as_the_ball_does(method):
    x, radius = BOX.middle, np.float32([0.1, 0.3])
    width = np.broadcast_to(radius[:, None], x.shape)
    box = bounds.Box(x - width, x + width)
    for clip in (None, (-1.0, 1.0)):
        bound = functools.partial(bounds.bound, network, x, method=method, clip=clip)
        of_box, of_ball = quick(lambda box, radius, bound=bound: (bound(box=box), bound(radius=radius)))(box, radius)
        np.testing.assert_allclose(of_box, of_ball, rtol=1e-5, atol=1e-5)


def test_a_box_around_an_array_holds_its_whole_ball():
    x, radii = rng.normal(size=(2, 50)).astype(np.float32), np.float32([0.1, 1e-9])
    box, exact, radius = bounds.Box.around(x, radii), x.astype(np.float64), radii[:, None].astype(np.float64)
    lower, upper = np.asarray(box.lower), np.asarray(box.upper)
    assert np.all(lower < exact - radius) and np.all(exact + radius < upper) and np.all(upper - lower < 0.201)
    point = bounds.Box.around(x, 0.0)
    chex.assert_trees_all_equal((point.lower, point.upper), (x, x))


@pytest.mark.parametrize("method", bounds.METHODS)
def test_an_affine_function_has_its_exact_range_over_a_box(method):
    f = lambda x: x @ FIRST + 1  # noqa: E731
    lower, upper = quick(lambda box: bounds.bound(f, box.lower, box=box, method=method))(BOX)
    low, high = (side[..., None] * FIRST for side in (BOX.lower, BOX.upper))
    np.testing.assert_allclose(lower, 1 + np.minimum(low, high).sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(upper, 1 + np.maximum(low, high).sum(1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("where", ["middle", "lower"])
@pytest.mark.parametrize("method", ["crown_ibp", "alpha_crown"])
def test_linear_bounds_enclose_the_function_and_their_minimum_is_the_bound(method, where):
    x = {"middle": BOX.middle, "lower": BOX.lower}[where]
    planes = over_the_box("linear", method, where)
    moves = POINTS - np.asarray(x)
    below, above = (
        offset + np.einsum("boi,sbi->sbo", coefficients, moves)
        for coefficients, offset in ((planes[0], planes[1]), (planes[2], planes[3]))
    )
    assert np.all(below <= VALUES + 1e-5) and np.all(VALUES <= above + 1e-5)
    low, high = (planes.lower_coefficients * np.asarray(side - x)[:, None] for side in (BOX.lower, BOX.upper))
    least = planes.lower_offset + np.minimum(low, high).sum(-1)
    intervals = over_the_box("bound", "ibp", where)[0]
    np.testing.assert_allclose(np.maximum(least, intervals), over_the_box("bound", method, where)[0], rtol=1e-5, atol=1e-5)


def test_linear_bounds_keep_the_shapes_of_trees_and_chunks():
    f = lambda x: jnp.tanh(x["a"].sum((1, 2)))[:, None] + x["b"]  # noqa: E731
    x = {"a": np.full((2, 2, 2), 1 / 8, np.float32), "b": np.zeros((2, 3), np.float32)}
    whole, parts = quick(lambda x: [bounds.linear(f, x, radius=0.1, chunk=chunk) for chunk in (64, 2)])(x)
    assert whole.lower_coefficients["a"].shape == (2, 3, 2, 2) and whole.upper_coefficients["b"].shape == (2, 3, 3)
    np.testing.assert_array_equal(whole.upper_coefficients["b"], np.broadcast_to(np.eye(3), (2, 3, 3)))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), whole, parts)


@pytest.mark.parametrize("method", ["ibp", "crown"])
def test_margins_are_those_of_the_specification_of_the_labels(method):
    options = {"radius": 0.1, "method": method}

    @quick
    def margins(x):
        of_rows = bounds.specification_margins(network, x, bounds.Specification.of_label(LABELS, 3), **options)
        return of_rows, bounds.class_margins(network, x, LABELS, **options)

    np.testing.assert_allclose(*margins(BOX.middle), rtol=1e-5, atol=1e-5)


def test_a_specification_holds_if_every_clause_has_a_positive_row():
    specification = bounds.Specification(np.eye(3, dtype=np.float32), np.float32([0, 1, -1]), clauses=((0, 1), (2,)))
    assert specification.holds(np.float32([[1, -1, 1], [-1, 1, 1], [-1, -1, 1], [1, 1, 0]])).tolist() == [
        True,
        True,
        False,
        False,
    ]
    x = np.float32([[0.5, -2.0, 3.0]])
    margins = quick(lambda x: bounds.specification_margins(lambda x: 2 * x, x, specification, box=bounds.Box(x - 0.25, x)))(x)
    np.testing.assert_allclose(margins, [[0.5, -3.5, 4.5]], rtol=1e-5)


def test_given_bounds_are_used_and_not_computed_again(monkeypatch):
    f = lambda x: network(jax.nn.relu(network(x) @ SECOND.T) @ FIRST.T)  # noqa: E731
    options = {"box": BOX, "method": "crown"}
    bound = quick(lambda given: bounds.bound(f, BOX.middle, given=given, **options))
    given, tight = quick(lambda: bounds.intermediate(f, BOX.middle, **options))(), bound(None)
    np.testing.assert_allclose(bound(given), tight, rtol=1e-5)
    given, tight = jax.tree.map(np.asarray, (given, tight))
    wide = given | {"relu_2": (given["relu_2"][0] - 1, given["relu_2"][1] + 1)}
    loose = jax.tree.map(np.asarray, bound(wide))
    assert np.all(loose[0] < tight[0])
    above = tuple(given["relu_2"][1] + i for i in (1, 2))  # which do not hold the value of f at x
    for wrong in (given["relu_2"][::-1], (given["relu_2"][0] * np.nan, given["relu_2"][1]), above):
        lower, upper = map(np.asarray, bound(given | {"relu_2": wrong}))
        assert np.all(lower <= tight[0]) and np.all(tight[1] <= upper)
    monkeypatch.setattr(refinement, "sides_of", None)
    bound.clear_cache()
    np.testing.assert_array_equal(bound(wide), loose)
    with pytest.raises(TypeError):
        bound(None)


@pytest.mark.parametrize("method", ["ibp", "crown", "hz_crown"])
def test_bounds_under_l0_hold_and_are_exact_for_affine_functions(method):
    """Every choice of two of four entries, each at an end of the range."""
    x, clip = np.clip(BOX.middle, -1, 1), (-1.0, 1.0)
    points = []
    for pair in itertools.combinations(range(4), 2):
        for ends in itertools.product(clip, repeat=2):
            points.append(x.copy())
            points[-1][:, pair] = ends
    values = np.maximum(np.stack(points) @ FIRST, 0) @ SECOND
    options = {"radius": 2, "norm": "l0", "clip": clip, "method": method}
    (lower, upper), got = quick(lambda x: [bounds.bound(f, x, **options) for f in (network, lambda x: x @ FIRST)])(x)
    assert np.all(np.asarray(lower) <= values) and np.all(values <= np.asarray(upper))
    affine = np.stack(points) @ FIRST
    np.testing.assert_allclose(got, (affine.min(0), affine.max(0)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("axis", "most"), [(-1, 10 + 11 + 12), (1, 6 + 12), (2, 9 + 12)])
def test_channels_of_a_pixel_change_together_under_l0(axis, most):
    f = lambda x: x.reshape(len(x), -1) @ jnp.arange(1.0, 13.0)[:, None]  # noqa: E731
    x = np.zeros((2, 2, 2, 3), np.float32)
    options = {"norm": "l0", "clip": (0.0, 1.0), "method": "crown_ibp", "channel_axis": axis}
    lower, upper = quick(lambda x, radius: bounds.bound(f, x, radius=radius, **options))(x, np.array([0, 1]))
    np.testing.assert_allclose(np.stack([lower, upper])[..., 0], ([0, 0], [0, most]), rtol=1e-5, atol=1e-3)


def test_a_box_in_float64_holds_its_middle_and_is_rounded_outwards():
    ends = np.array([[0.1, 0.0]]), np.array([[0.1, 1 / 3]])
    box = bounds.Box(*ends)
    sides = quick(lambda: bounds.bound(lambda x: x, box.middle, box=box, method="ibp"))()
    lower, upper = (np.asarray(side, np.float64) for side in sides)
    assert np.all(lower <= ends[0]) and np.all(ends[1] <= upper) and np.all(upper - lower <= ends[1] - ends[0] + 1e-6)


ROWS, FAR = np.ones((1, 3), np.float32), np.full((2, 8), 99.0, np.float32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expected a radius or a box, got neither"),
        ({"radius": 0.1, "box": BOX}, "expected a radius or a box, got both"),
        ({"box": BOX, "norm": "l2"}, "a box has no norm"),
        ({"radius": 1, "norm": "l0"}, "norm=l0 needs the range"),
        ({"radius": 1, "norm": "l9"}, "expected one of linf, l2, l1, or l0 with clip"),
        ({"radius": 1, "norm": "l0", "clip": (-9.0, 9.0), "channel_axis": 2}, r"channel_axis=2 is no axis of x beside the batch"),
        ({"radius": 1, "norm": "l0", "clip": (-9.0, 9.0), "channel_axis": 0.5}, "channel_axis must be the number of an axis"),
        ({"radius": 1, "channel_axis": -1}, "only norm=l0 counts pixels"),
        ({"box": BOX, "clip": (8.0, 9.0)}, r"x leaves the range of clip=\(8.0, 9.0\)"),
        ({"box": bounds.Box(BOX.upper, BOX.lower)}, r"lower end lies above its upper end at \(0, 0\)"),
        ({"box": bounds.Box(BOX.lower - 9, BOX.lower - 8)}, r"x lies outside of the box at \(0, 0\)"),
        ({"box": bounds.Box(BOX.lower[:1], BOX.upper)}, r"lower end has the shapes \[\(1, 4\)\]"),
        ({"specification": (np.ones((1, 4)), np.zeros(1))}, r"has rows \(1, 3\) or \(2, 1, 3\)"),
        ({"specification": (ROWS, np.zeros(1, np.float32), ((1,),))}, r"some of the rows 0 to 0, got \(1,\)"),
        ({"specification": (ROWS, np.zeros(1, np.float32), ((),))}, "a clause must name some"),
        ({"specification": (ROWS, np.zeros(1, np.float32), ())}, "at least one row and one clause"),
        ({"specification": (ROWS, np.zeros(1, np.float32), ((0.5,),))}, r"some of the rows 0 to 0, got \(0.5,\)"),
        ({"specification": (ROWS * np.nan, np.zeros(1, np.float32))}, "must be finite"),
        ({"specification": (ROWS, 0.0)}, r"offsets of a specification must be an array .* got float64 \(\)"),
        ({"specification": ("rows", np.zeros(1, np.float32))}, "rows of a specification must be an array of numbers"),
        ({"box": (BOX.lower, BOX.upper)}, "a box must be a bounds.Box"),
        ({"box": bounds.Box(BOX.lower * 1j, BOX.upper)}, "ends of a box must be real numbers, got complex64"),
        ({"radius": 0.1, "chunk": 0}, "chunk=0: expected at least 1, a whole number"),
        ({"radius": 0.1, "iterations": -1}, "iterations=-1: expected at least 0, a whole number"),
        ({"radius": 10**400}, "radius must be a number"),
        ({"radius": True}, "radius must be a number"),
        ({"radius": 0.1, "clip": (0.0,)}, r"clip must be \(low, high\), got \(0.0,\)"),
        ({"radius": 0.1, "clip": (0.0, "1")}, r"clip must be \(low, high\)"),
        ({"radius": 0.1, "given": {"relu_0": 1.0}}, "given must map names to"),
        ({"radius": 0.1, "given": {"relu_0": (ROWS, ROWS)}}, r"given relu_0 must be \(lower, upper\) of shape"),
        ({"radius": 0.1, "given": {"relu_0": (FAR, -FAR)}}, r"given relu_0 has no interval at \(0, 0\): its ends are 99 and -99"),
        ({"radius": 0.1, "given": {"relu_0": (FAR * np.nan, FAR)}}, r"has no interval at \(0, 0\): its ends are nan and 99"),
        ({"radius": 0.1, "given": {"relu_0": (FAR, FAR)}}, r"does not hold the value of f at x at \(0, 0\): .* in 99 to 99"),
    ],
)
@pytest.mark.usefixtures("unchecked_signatures")
def test_regions_and_specifications_that_do_not_fit_are_refused_in_one_line(options, said):
    specification = options.pop("specification", None)
    with pytest.raises(InputError, match=said):
        if specification is None:
            bounds.bound(network, BOX.middle, **options)
        else:
            bounds.specification_margins(network, BOX.middle, bounds.Specification(*specification), radius=0.1)


def test_pixels_of_images_are_ambiguous_without_their_channel_axis():
    with pytest.raises(InputError, match="give the channel_axis of the images, -1 if channels are last, 1 if first"):
        bounds.bound(lambda x: x, np.zeros((1, 2, 2, 3), np.float32), radius=1, norm="l0", clip=(0.0, 1.0))


def test_nothing_is_certified_of_radii_and_labels_that_turn_out_to_be_none():
    """Values that are known while tracing are refused; the others make margins of -inf."""
    f = lambda x: network(x) - 100  # noqa: E731
    certified = quick(lambda radius, labels: bounds.margin(f, BOX.middle, labels, radius=radius, norm="l2", method="hz_crown"))
    best = np.argmax(f(BOX.middle), 1)
    for radius in (np.nan, -0.1):
        assert np.all(certified(radius, best) == -np.inf)
    assert np.all(certified(1e-4, best) > 0)
    assert np.all(certified(1e-4, np.array([3, -1])) == -np.inf)
    with pytest.raises(InputError, match="holds no example"):
        bounds.bound(network, np.ones((0, 4), np.float32), radius=0.1)


@pytest.mark.parametrize("radius", [1e-46, np.float32(1e-40), np.array([1e-300])])
def test_radii_below_the_least_normal_number_are_no_radius_of_0(radius):
    lower, upper = bounds.bound(lambda x: 1.0 * x, np.zeros((1, 2), np.float32), radius=radius, method="ibp")
    assert np.all(np.asarray(lower, float) <= -radius) and np.all(np.asarray(upper, float) >= radius)
