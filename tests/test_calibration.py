"""Conformal p-values and thresholds keep their promise whatever the scores are; drift is found and not invented."""

import numpy as np
import pandas as pd
import pytest
import torch

from adnlib import AdnError
from adnlib.calibration import APPEARANCE, appearance, drift, images_needed, p_values, percent, rule_for


def test_p_values_are_the_formula():
    calibration = np.array([3.0, 1.0, 2.0, 2.0])
    scores = np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0, np.inf])
    expected = [(1 + (calibration >= score).sum()) / 5 for score in scores]
    np.testing.assert_allclose(p_values(scores, calibration), expected)


@pytest.mark.parametrize("n, rate", [(9, 0.1), (19, 0.05), (99, 0.01), (150, 0.01), (40, 0.05), (5, 0.01), (3, 0.9)])
def test_the_threshold_is_the_p_value(n, rate):
    rng = np.random.default_rng(n)
    calibration = rng.integers(0, 30, n).astype(float)  # with ties
    rule = rule_for(calibration, rate)
    allowed = max(rate, 1 / (n + 1))
    for score in np.arange(-1, 32, 0.5):
        assert (score > rule.threshold) == (p_values(score, calibration) <= allowed + 1e-12)
    assert rule.promised == (n >= images_needed(rate))


@pytest.mark.parametrize("draw", [lambda rng, n: rng.normal(size=n), lambda rng, n: rng.standard_cauchy(n)])
@pytest.mark.parametrize("n, rate", [(19, 0.05), (99, 0.01), (120, 0.05)])
def test_the_rate_is_kept_on_average_and_within_its_interval(draw, n, rate):
    """2,000 draws of calibration scores, each with the exact share of new scores above the threshold."""
    rng = np.random.default_rng(0)
    new = np.sort(draw(rng, 200_000))
    shares, inside = [], 0
    for _ in range(2000):
        rule = rule_for(draw(rng, n), rate)
        shares.append(1 - np.searchsorted(new, rule.threshold, side="right") / len(new))
        inside += rule.low <= shares[-1] <= rule.high
    assert np.mean(shares) <= rate * 1.08
    assert np.mean(shares) == pytest.approx(rule.expected, rel=0.08)
    assert 0.93 < inside / 2000 < 0.97


def test_the_number_of_alarms_is_predicted():
    rng, inside = np.random.default_rng(0), 0
    for _ in range(1000):
        rule, new = rule_for(rng.normal(size=99), 0.05), rng.normal(size=80)
        low, high = rule.alarms(80)
        inside += low <= (new > rule.threshold).sum() <= high
    assert inside / 1000 > 0.94


def test_the_number_of_images_that_a_promise_needs():
    assert [images_needed(rate) for rate in (0.5, 0.1, 0.05, 0.01)] == [1, 9, 19, 99]


def test_sentences():
    text = str(rule_for(np.arange(40.0), 0.01))
    assert "with 40 calibration images, about 2.4 % of new normal images" in text
    assert text.endswith("a rate of 1 % needs 99 calibration images.")
    assert "needs" not in str(rule_for(np.arange(99.0), 0.01))
    assert [percent(share) for share in (0.0123, 0.0004, 0.5)] == ["1.2 %", "0.04 %", "50 %"]


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_rates_out_of_range(rate):
    with pytest.raises(AdnError, match="is out of range"):
        rule_for(np.arange(9.0), rate)


def test_no_calibration_images():
    with pytest.raises(AdnError, match="There are no calibration images"):
        rule_for(np.zeros(0))


def test_appearance_is_what_it_says():
    grey = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4).expand(1, 3, 4, 4)
    brightness, contrast, sharpness = appearance(grey)[0]
    assert brightness == 7.5 and sharpness == (1 + 4) / 2
    assert contrast == pytest.approx(np.arange(16).std(ddof=1))


def tables(rng, dim=1.0):
    def table(n, factor):
        columns = rng.normal([5, 120, 30, 10], [1, 12, 3, 1], (n, 4))
        return pd.DataFrame(columns, columns=["score", *APPEARANCE]) * [1, factor, factor, factor]

    return table(50, dim), table(120, 1)


def test_drift_is_found_and_seldom_invented():
    rng = np.random.default_rng(0)
    assert sum(bool(drift(*tables(rng))) for _ in range(1000)) <= 60  # 5 % and three standard errors
    assert sum(bool(drift(*tables(rng, 0.8))) for _ in range(100)) >= 95
    found = drift(*tables(rng, 0.8))
    assert found[0].startswith("The brightness of the 50 images differs from that of the calibration images")


def test_drift_needs_images_and_takes_scores_alone():
    new, calibration = tables(np.random.default_rng(0), 0.5)
    assert drift(new[:5], calibration) == []
    assert drift(new, calibration[["score"]]) == []
    assert len(drift(new.assign(score=99), calibration[["score"]])) == 1
