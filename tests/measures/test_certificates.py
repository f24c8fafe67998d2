"""R from certified bounds: closed forms on linear chains, whatever their depth, and the radius."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linear_chains import IMAGES, LABELS, Chain, chain, log, measured, of, right_labels
from quick import quick

from dsrna_jax import bounds
from dsrna_jax.errors import InputError
from dsrna_jax.measures import certificates, radius_schedules
from dsrna_jax.measures.measure import configured

# ---- closed forms


@pytest.mark.parametrize("radius", [0.3, 1e-3, 1e-12])
@pytest.mark.parametrize("options", [{"method": "ibp"}, {"method": "crown_ibp", "entries": 4}], ids=lambda o: o["method"])
def test_a_linear_cells_width_is_its_mean_absolute_row_sum(radius, options):
    """R is minus log of 2 * mean_i sum_j |M_ij| of both states together, summed over cells, at any radius."""
    net = chain()
    expected = -sum(np.log(2 * np.abs(m).sum(1).mean()) for m in net.matrices)
    logits, r, _ = measured("cell", of(net), IMAGES, LABELS, log(radius), **options)
    np.testing.assert_allclose(r, np.full(3, expected), rtol=1e-4)
    np.testing.assert_allclose(logits, quick(lambda x: net(x))(IMAGES), rtol=1e-6)


def test_drawn_entries_estimate_the_width_without_bias():
    net = Chain(chain(1).matrices, chain().weights)
    (m,) = net.matrices
    images = np.tile(IMAGES[:1], (400, 1, 1, 1))
    one = measured("cell", of(net), images, None, log(0.01), method="crown_ibp", entries=1)[1]
    widths, expected = np.exp(-np.asarray(one)), 2 * np.abs(m).sum(1)
    assert all(np.isclose(widths, w, rtol=1e-4).any() for w in expected)  # every entry gets its turn
    np.testing.assert_allclose(widths.mean(), expected.mean(), rtol=0.1)
    two = np.exp(-np.asarray(measured("cell", of(net), images, None, log(0.01), method="crown_ibp", entries=2)[1]))
    halves = expected.reshape(2, 2)  # one of each half of the map
    allowed = [(a + b) / 2 for a in halves[0] for b in halves[1]]
    assert np.isclose(two[:, None], allowed, rtol=1e-4).any(1).all()


def margins(net, radius):
    """Margins of a linear network over the l_inf ball, unclipped."""
    computed = quick(lambda x: (jax.jacobian(lambda x: net(x[None])[0])(x[0]), net(x)))(IMAGES)
    (product, logits), rows = map(np.asarray, computed), np.arange(3)
    product = product.reshape(3, -1)
    both = [
        [(logits[i, y] - logits[i, j], np.abs(product[y] - product[j]).sum()) for j in rows if j != y]
        for i, y in enumerate(LABELS)
    ]
    return np.array([min(gap - radius * size for gap, size in pairs) for pairs in both]), both


@pytest.mark.parametrize("radius", [0.05, 1e-4])
def test_margin_is_a_bounded_function_of_the_certified_margin(radius):
    net = chain()
    bound, _ = margins(net, radius)
    _, r, slack = measured("margin", of(net), IMAGES, LABELS, log(radius), method="crown_ibp")
    np.testing.assert_allclose(r, -np.log1p(np.logaddexp(0, -bound)), rtol=2e-3, atol=1e-3)
    is_right = right_labels(net) == LABELS
    assert np.array_equal(np.asarray(slack) > 0, bound > 0) and not np.asarray(slack)[~is_right].any()


def test_radius_is_where_the_margin_ends():
    """The ball is cut at the pixels' range; the radius found has been certified, and little more can be."""
    net = chain()
    labels = right_labels(net)
    _, r, slack = measured("radius", of(net), IMAGES, labels, log(0.5), method="crown_ibp")
    found = np.exp(np.asarray(r)) - 0.5
    alone = quick(lambda start: certificates.log_certified_radius(net, IMAGES, labels, log_start=start, method="crown_ibp"))
    np.testing.assert_allclose(np.exp(alone(log(0.5))), found, rtol=1e-3)
    margin = quick(lambda radius: bounds.margin(net, IMAGES, labels, radius=radius, method="crown_ibp", clip=(0, 1)))
    assert np.all(np.asarray(margin(0.999 * found)) > 0) and np.all(np.asarray(margin(1.1 * found)) < 0)
    np.testing.assert_allclose(slack, np.log(found / 0.5), rtol=1e-2, atol=1e-2)


def test_wrongly_classified_images_have_no_radius_and_no_slack():
    net = chain()
    wrong = (right_labels(net) + 1) % 3
    for name in ("margin", "radius"):
        _, r, slack = measured(name, of(net), IMAGES, wrong, log(0.01))
        assert not np.any(slack)
    np.testing.assert_allclose(r, np.log(0.01), rtol=1e-4)


# ---- whatever the depth


@pytest.mark.parametrize("name", ["cell", *(pytest.param(name, marks=pytest.mark.slow) for name in ("margin", "radius"))])
@pytest.mark.parametrize(
    ("cells", "gain"),
    [pytest.param(8, 1e6, id="8 cells"), pytest.param(12, 1e5, id="12 cells", marks=pytest.mark.slow)],
)
def test_r_and_its_gradient_are_finite_where_a_bound_leaves_float32(name, cells, gain):
    net = chain(cells, gain)
    labels = right_labels(net)
    assert not np.isfinite(quick(lambda x: bounds.margin(net, x, labels, radius=0.03, method="ibp"))(IMAGES)).all()

    def mean(gain):
        _, r, slack = measured(name, (net.matrices, net.weights, gain), IMAGES, labels, log(0.03))
        return r.mean(), (r, slack)

    (_, (r, slack)), slope = quick(jax.value_and_grad(mean, has_aux=True))(gain)
    assert np.isfinite(r).all() and np.isfinite(slack).all() and np.isfinite(slope)
    if name != "radius":
        np.testing.assert_allclose(slope * gain, -cells, rtol=0.01)  # every cell has its part in the logarithm


@pytest.mark.parametrize("name", certificates.CERTIFICATES)
def test_a_network_of_nan_is_not_robust(name):
    """A search stops where R is not finite."""
    net = chain()
    for broken in (dataclasses.replace(net, weights=net.weights * np.nan), dataclasses.replace(net, gain=jnp.nan)):
        assert np.isnan(measured(name, of(broken), IMAGES, LABELS, log(0.01), method="ibp").robustness).all()


def test_the_controller_sinks_as_far_as_a_deep_network_needs():
    net = chain(8, 5e5)
    labels, log_radius = right_labels(net), log(0.03)

    @jax.jit
    def step(net, log_radius):
        _, _, slack = measured("margin", net, IMAGES, labels, log_radius)
        return slack, radius_schedules.controller(log_radius, slack, 0.0, 0.03)

    for _ in range(400):
        slack, log_radius = step(of(net), log_radius)
    slack = np.asarray(slack)
    assert log_radius.item() < np.log(1e-45) and abs(np.clip(slack, -1, 1).mean()) < 0.01
    assert (slack > 0).any()


def test_the_radius_moves_by_votes_and_never_becomes_nan():
    controlled, start = jax.jit(radius_schedules.controller), log(0.03).item()
    move = lambda *slack: controlled(start, np.float32(slack), progress=0.5, start=0.03).item()  # noqa: E731
    assert move(0.1, 0.1) > start > move(-0.1, -0.1)
    assert move(0.0, 0.0) == start
    assert move(1.0, 1.0, -1e30) > start  # one image does not decide
    assert np.isclose(move(np.nan, -np.inf) - start, -0.5)
    assert controlled(0.0, np.float32([9.0]), 0.5, 0.03).item() == 0  # never wider than all pixels


def test_fixed_stays_and_ramp_grows_linearly():
    slack = np.float32([-5.0])
    assert radius_schedules.fixed(log(0.01), slack, 0.5, 0.03) == log(0.01)
    np.testing.assert_allclose(np.exp(radius_schedules.ramp(log(0.01), slack, 0.25, 0.04)), 0.01, rtol=1e-5)


def test_unknown_certificate_lists_the_known():
    with pytest.raises(InputError, match="'cells'; expected one of cell, margin, radius"):
        configured(types.SimpleNamespace(metric="certified", certificate="cells"))
