import runpy

import numpy as np
import pytest

from adnlib.evaluation import auroc
from adnlib.intervals import Z, _delong, alarm_rate, auroc_difference, auroc_interval, newcombe
from adnlib.system.folders import ROOT

coverage = runpy.run_path(str(ROOT / "benchmarks" / "intervals.py"))["coverage"]


def draw(n=60, m=40, shift=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, n), rng.normal(shift, 1, m)


# --- how often an interval contains the truth; benchmarks/RESULTS.md has many more cases ---


@pytest.mark.parametrize("truth, bootstrap", [(0.9, 0.92), (0.98, 0.82), (0.999, 0.2)])
def test_20_images_of_each_kind_are_enough_for_an_interval(truth, bootstrap):
    """At least 93 % of the intervals contain the truth, and fewer of the bootstrap's."""
    (ours, _), (theirs, _) = coverage("equal", (truth,), 20, 20, draws=400)
    assert ours >= 0.93
    assert theirs == pytest.approx(bootstrap, abs=0.04)


@pytest.mark.parametrize("shape", ["wide", "missed", "alarms"])
def test_an_interval_assumes_no_shape(shape):
    for n, m, truth in ((20, 63, 0.9), (50, 10, 0.98)):
        assert coverage(shape, (truth,), n, m, draws=200)[0, 0] >= 0.9


@pytest.mark.parametrize("truths", [(0.9, 0.8), (0.98, 0.98), (0.999, 0.98)], ids=str)
def test_a_difference_is_in_its_interval(truths):
    """In 93 % or more of the test sets; if one AUROC is 0.999, in the bootstrap's interval in fewer than 90 %."""
    (ours, _), (theirs, _) = coverage("equal", truths, 20, 20, correlation=0.8, draws=200)
    assert ours >= 0.93
    assert theirs < 0.9 or truths[0] < 0.99


def test_the_rate_of_false_alarms_is_in_its_interval():
    rates, found = np.random.default_rng(0).random((4000, 34)), []  # the share above a threshold t is 1 - t
    for scores in np.sort(rates, axis=1):
        found.append(1 - scores[-2])  # one of the 34 scores is above this threshold
    expected, low, high = alarm_rate(1, 34)
    assert np.mean(found) == pytest.approx(expected, abs=0.003)
    assert np.mean((low <= np.array(found)) & (np.array(found) <= high)) == pytest.approx(0.95, abs=0.015)


# --- the formulas ---


@pytest.mark.parametrize("value, n, m", [(0.9, 20, 20), (0.7, 5, 80), (1.0, 30, 7), (0.0, 4, 4), (0.6, 1, 1)])
def test_newcombes_ends_solve_his_equation(value, n, m):
    low, high = newcombe(value, n, m)
    assert 0 <= low <= value <= high <= 1 and low < high
    for t in (low, high):
        variance = t * (1 - t) * (1 + ((n + m) / 2 - 1) * ((1 - t) / (2 - t) + t / (1 + t))) / (n * m)
        assert abs(value - t) == pytest.approx(Z * variance**0.5, abs=1e-9)


def test_delongs_covariance_is_that_of_the_pairs():
    normal, anomalous = (np.stack([x, x + draw(len(x), 1, seed=1)[0]]).round(1) for x in draw(30, 20))  # with ties
    wins = (anomalous[:, :, None] > normal[:, None]) + 0.5 * (anomalous[:, :, None] == normal[:, None])  # (2, M, N)
    value, covariance = _delong(normal, anomalous)
    assert value == pytest.approx(auroc(normal, anomalous))
    assert covariance == pytest.approx(np.cov(wins.mean(axis=2)) / 20 + np.cov(wins.mean(axis=1)) / 30)


# --- where data are few or extreme ---


def test_separated_images_leave_room_for_mistakes():
    low, high = auroc_interval(np.zeros(20), np.ones(20))
    assert (low, high) == (pytest.approx(20 / (20 + Z**2)), 1) and low < 0.84
    assert auroc_interval(np.ones(20), np.zeros(20)) == pytest.approx((0, 1 - low))
    assert auroc_interval(np.zeros(200), np.ones(200))[0] > 0.98


@pytest.mark.parametrize("n, m", [(1, 1), (1, 30), (30, 1), (2, 2)])
def test_a_single_image_of_a_kind_says_almost_nothing(n, m):
    low, high = auroc_interval(*draw(n, m))
    assert 0 <= low < high <= 1 and high - low > 0.5


def test_equal_and_infinite_scores_have_an_interval():
    low, high = auroc_interval(np.ones(20), np.ones(20))
    assert low < 0.5 < high and low == pytest.approx(1 - high)
    low, high = auroc_interval(np.array([0.0, 1.0, np.inf]), np.array([np.inf, 2.0, 3.0]))
    assert 0 < low < high < 1


def test_an_interval_depends_on_the_order_alone_and_mirrors():
    normal, anomalous = draw()
    assert auroc_interval(np.exp(normal), np.exp(anomalous)) == auroc_interval(normal, anomalous)
    low, high = auroc_interval(normal, anomalous)
    assert auroc_interval(-normal, -anomalous) == pytest.approx((1 - high, 1 - low))


def test_a_difference_of_two_perfect_models_is_not_known_to_be_zero():
    normal, anomalous = np.zeros((2, 20)), np.array([np.full(20, 1.0), np.full(20, 2.0)])
    difference, low, high = auroc_difference(normal, anomalous)
    assert difference == 0 and low == pytest.approx(-high) and 0.16 < high < 0.17
    assert auroc_difference(normal, anomalous[:1].repeat(2, axis=0)) == (0, 0, 0)  # the same model


def test_a_difference_is_narrower_than_the_two_intervals_and_changes_sign():
    normal, anomalous = draw()
    rng = np.random.default_rng(1)
    normal, anomalous = np.stack([normal, normal + rng.normal(0, 0.1, 60)]), np.stack([anomalous + 0.3, anomalous])
    difference, low, high = auroc_difference(normal, anomalous)
    assert difference == pytest.approx(np.subtract(*auroc(normal, anomalous)))
    assert low < difference < high
    single = auroc_interval(normal[1], anomalous[1])
    assert high - low < 0.7 * (single[1] - single[0])
    assert auroc_difference(normal[::-1], anomalous[::-1]) == pytest.approx((-difference, -high, -low))


@pytest.mark.parametrize("above, count, expected, high", [(0, 14, 1 / 15, 0.232), (1, 34, 2 / 35, 0.153)])
def test_few_validation_images_promise_little(above, count, expected, high):
    assert alarm_rate(above, count)[0] == pytest.approx(expected)
    assert alarm_rate(above, count)[2] == pytest.approx(high, abs=5e-4)
