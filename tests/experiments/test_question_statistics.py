"""The statistics of the question: paired tests, their correction, the answer, the choice of gamma, orders."""

import math

import numpy as np
import pytest
from scipy import stats

from experiments.studies.question import rank
from experiments.studies.question.statistics import Compared, answer, chosen_gamma, compared, corrected, kendall


def test_the_paired_test_is_that_of_the_differences():
    pairs = [(52.0, 50.0), (53.0, 49.0), (51.0, 48.0)]
    one = compared("m", "c", "x", pairs)
    half = 4.302653 * 1 / 3**0.5  # the differences 2, 4, 3 have mean 3 and deviation 1
    assert (one.difference, one.effect, one.pairs) == (3.0, 3.0, 3)
    assert (one.low, one.high) == pytest.approx((3 - half, 3 + half)) and one.p == pytest.approx(0.0351, abs=1e-4)
    assert compared("m", "c", "x", pairs[:1]) is None
    for difference in (0.0, 1.0):  # two equal differences are no evidence
        same = compared("m", "c", "x", [(1.0 + difference, 1.0), (2.0 + difference, 2.0)])
        assert (same.difference, same.p, same.effect) == (difference, 1.0, 0.0)


def one(method, control, difference, p, measure="accuracy"):
    return Compared(method, control, measure, 3, difference, difference - 1, difference + 1, p, difference)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "The question has no answer yet"),
        ([one("A", "g", 2, 0.001), one("A", "r", 3, 0.002)], "Yes: cells of A have more accuracy than g (+2"),
        ([one("A", "g", 2, 0.001), one("A", "r", 3, 0.06)], "No: at this size"),
        ([one("A", "g", 2, 0.001), one("A", "r", -3, 0.001)], "No: at this size"),  # of two minds
        ([one("A", "g", -2, 0.001), one("A", "r", -3, 0.001)], "The contrary: cells of A have less accuracy"),
        ([one("A", "g", 2, 0.001), one("B", "g", 0, 0.9), one("B", "r", 0, 0.9)], "No: at this size"),  # A lacks a control
    ],
)
def test_the_answer_follows_from_the_comparisons(found, expected):
    assert answer(found).startswith(expected) and "\n" not in answer(found)


@pytest.mark.parametrize(
    ("given", "expected"),
    [([], []), ([0.3], [0.3]), ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]), ([0.6, 0.01, 0.01], [0.6, 0.03, 0.03])],
)
def test_p_is_corrected_by_holm(given, expected):
    """The first table is the example of Holm's method in Wikipedia's article on the Holm-Bonferroni method."""
    assert corrected([one("A", "g", 1, p) for p in given]) == pytest.approx(expected)


def test_gamma_is_the_one_with_the_best_held_out_accuracy_but_never_0():
    assert chosen_gamma({0.0: [0.9], 0.01: [0.3, 0.5], 0.1: [0.5, 0.5], 1.0: [0.5, 0.5]}) == 0.1


@pytest.mark.parametrize("order", [1, -1])
def test_a_gamma_with_an_unknown_accuracy_is_never_chosen(order):
    held_out = {0.1: [math.nan, 0.9], 0.2: [0.5], 0.3: [0.4]}
    assert chosen_gamma(dict(list(held_out.items())[::order])) == 0.2
    for none in ({}, {0.0: [0.5]}, {0.0: [0.5], 0.1: [math.nan]}):
        with pytest.raises(ValueError, match="^expected a gamma above 0 with accuracies that are not NaN"):
            chosen_gamma(none)


@pytest.mark.parametrize("place", range(3))
def test_an_unknown_score_leaves_no_tau_and_no_interval(place):
    columns = [[1, 2, 3, 4, 5], [2, 1, 3, 5, 4], [1, 3, 2, 5, 4]]
    assert all(map(math.isfinite, kendall(*columns)))
    columns[place] = [*columns[place][:2], math.nan, *columns[place][3:]]
    assert all(map(math.isnan, kendall(*columns)))
    with pytest.raises(ValueError, match="^expected columns of one length; got .*4"):
        kendall(*(column[: 4 if i == place else 5] for i, column in enumerate(columns)))


def test_tau_of_an_order_is_1_within_its_interval():
    assert kendall([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx((1, 1, 1))
    assert kendall([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx((-1, -1, -1))
    assert all(math.isnan(value) for value in kendall([1, 1, 1], [1, 2, 3]))
    with_ties = np.random.default_rng(0).integers(9, size=(2, 40))
    assert kendall(*with_ties)[0] == pytest.approx(stats.kendalltau(*with_ties).statistic)


def test_the_share_of_size_in_an_order_is_taken_out():
    sizes = [3, 1, 4, 2, 5]
    scores = {"attacked": range(5), "radius": [0.1, *[None] * 4], rank.SIZE: sizes}  # of one radius there is no order
    rows = [{"scores": {"R": index} | {name: of[index] for name, of in scores.items()}} for index in range(5)]
    of_r, of_size = rank.correlations(rows)
    assert of_r[:2] == ("R", "accuracy under attack") and of_r.tau == pytest.approx((1, 1, 1)) == of_r.at_one_size
    assert of_size.score == rank.SIZE and of_size.at_one_size is None
    of_xy, of_xz, of_yz = (
        kendall(*pair)[0] for pair in (([1, 2, 3, 4], [2, 1, 4, 3]), ([1, 2, 3, 4], [1, 3, 2, 4]), ([2, 1, 4, 3], [1, 3, 2, 4]))
    )
    partial = (of_xy - of_xz * of_yz) / math.sqrt((1 - of_xz**2) * (1 - of_yz**2))
    assert kendall([1, 2, 3, 4], [2, 1, 4, 3], [1, 3, 2, 4])[0] == pytest.approx(partial)
