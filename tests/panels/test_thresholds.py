"""The thresholds of the score explorer: one for each way to divide the images, steered by a slider or the mouse."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_curve

import adnlib
from adnlib.calibration import rule_for
from adnlib.panels.loaded_run import load_run
from adnlib.panels.score_explorer import ScoreExplorer
from adnlib.panels.score_pictures import HISTOGRAM, ROC
from adnlib.panels.thresholds import (
    Costs,
    cheapest_cut,
    confusion,
    cut_at,
    cuts,
    plain,
    price_of_miss,
    promised,
    rates_by_cut,
    short,
    spoken,
)


@pytest.fixture(scope="module")
def explorer(tiny_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    adnlib.train_run(root, adnlib.RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", device="cpu"))
    return ScoreExplorer(root)


def test_confusion_is_scikit_learns():
    rng = np.random.default_rng(0)
    label, score = rng.integers(2, size=50), rng.normal(size=50)
    found = confusion(label, score, 0.3)
    (tn, fp), (fn, tp) = confusion_matrix(label, score > 0.3)
    assert [found[k] for k in ("tn", "fp", "fn", "tp")] == [tn, fp, fn, tp]
    assert found["precision"] == pytest.approx(precision_score(label, score > 0.3))
    assert found["recall"] == pytest.approx(recall_score(label, score > 0.3))
    assert found["false-positive rate"] == pytest.approx(fp / (fp + tn))
    assert np.isnan(confusion(label, score, 99)["precision"])  # nothing is called anomalous


@pytest.mark.parametrize("score", [[1.0, 1.0, 2.0, 2.00001, 3e9, np.inf], [0.0, 1e-9, 1.0], [5.0]])
def test_every_way_to_divide_the_images_has_its_threshold(score):
    score = np.array(score)
    levels, found = np.unique(score), cuts(score)
    assert len(found) == len(levels) + 1 and np.isfinite(found).all()
    for index, threshold in enumerate(found[:-1]):
        assert cut_at(score, threshold) == index or index == 0  # no threshold is below a score of zero
        if index:
            assert (score > threshold).sum() == (score >= levels[index]).sum()


def test_the_rates_of_all_cuts_are_the_roc_curve():
    rng = np.random.default_rng(0)
    label, score = rng.integers(2, size=60), rng.integers(1, 20, size=60).astype(float)
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    false_alarms, recall = rates_by_cut(label, score)
    assert false_alarms[::-1] == pytest.approx(fpr) and recall[::-1] == pytest.approx(tpr)


def test_the_slider_reaches_every_rate_in_equal_steps(explorer):
    c, test = explorer.controls, load_run(explorer.controls["run"].value).test
    normal, rates = test["score"][test["label"] == 0], []
    for step in range(c["cut"].max + 1):
        c["cut"].value = step
        assert c["cut"].value == step
        rates.append((normal > c["threshold"].value).mean())
    assert rates[0] == 1 and rates[-1] == 0 and set(rates) == set(np.arange(len(normal) + 1) / len(normal))


def test_the_threshold_is_spoken_as_decisions(explorer):
    label, score = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 2.5, 4.0])
    assert spoken(label, score, 2.0) == (
        "1 of 3 normal images are false alarms (33.3 %), 2 of 2 anomalous images are found (100 %)"
    )
    assert "0 of 0 anomalous images are found" in spoken(label[:3], score[:3], 2.0)
    assert [plain(x) for x in (0.0, 0.012345, 1.0, 45.678, 12345.6)] == ["0", "0.0123", "1.00", "45.7", "12,300"]
    c = explorer.controls
    c["threshold"].value = 1.5
    assert c["cut"].words.startswith("1.50: ") and "false alarms" in c["cut"].words


def test_the_line_of_the_histogram_and_the_point_of_the_roc_curve_follow_the_mouse(explorer):
    c, test = explorer.controls, load_run(explorer.controls["run"].value).test
    (width, _), (left, _, across, _) = HISTOGRAM
    explorer.histogram.at = [left / width, 0.5]
    assert c["cut"].value == 0  # the left end of the axis: below all scores
    explorer.histogram.at = [(left + across) / width, 0.5]
    assert c["cut"].value == c["cut"].max
    (width, height), (left, bottom, across, up) = ROC
    for rate in (0.0, 1.0):  # along the top: the highest score of a normal image, and the lowest
        explorer.roc.at = [(left + rate * across) / width, 1 - (bottom + up) / height]
        false_alarms, recall = rates_by_cut(test["label"].to_numpy(), test["score"].to_numpy())
        assert recall[c["cut"].value] >= 1 - 1 / 4 and abs(false_alarms[c["cut"].value] - rate) <= 1 / 4


def test_the_cheapest_threshold_and_what_it_costs(explorer):
    label, score = np.array([0, 0, 0, 1, 1]), np.array([1.0, 2.0, 3.0, 2.5, 4.0])

    def at(*costs: float) -> float:
        return cuts(score)[cheapest_cut(label, score, Costs(*costs))]

    assert 2 <= at(1000, 1, 500) < 2.5  # finds both, with one false alarm
    assert 3 <= at(1, 1000, 500) < 4  # the first threshold without a false alarm
    assert at(0, 1, 10) == 4 and at(1, 1, 0) == 4  # nothing to find: nothing is called anomalous
    assert Costs(100, 2, 10).per_1000(0.1, 0.8) == pytest.approx(10 * 0.2 * 100 + 990 * 0.1 * 2)

    c = explorer.controls
    c["miss"].value, c["alarm"].value, c["defects"].value = 0, 5, 10
    explorer.move_to(explorer.cheapest())
    assert c["cut"].value == c["cut"].max
    explorer.move_to(explorer.promised())
    run = load_run(c["run"].value)
    assert len(str(c["threshold"].value)) <= 6 and c["threshold"].value == pytest.approx(run.threshold, rel=1e-3)
    for scores in (run.test["score"], run.run.calibration["score"]):
        assert ((scores > c["threshold"].value) == (scores > run.threshold)).all()


def test_the_price_of_a_miss_is_where_the_cheapest_threshold_begins_to_detect_the_image():
    rng = np.random.default_rng(0)
    label, score = rng.integers(2, size=60), rng.normal(size=60) ** 2
    for one in score[label == 1]:
        for defects in (10, 500):
            price = price_of_miss(label, score, one, Costs(0, 2, defects))

            def detected(miss, one=one, defects=defects) -> bool:
                return one > cuts(score)[cheapest_cut(label, score, Costs(miss, 2, defects))]

            assert detected(price * 1.001 + 1e-6) and (price == 0 or not detected(price * 0.999))
    assert price_of_miss(label, score, score[label == 1][0], Costs(1, 2, 0)) == np.inf


def test_a_button_sets_the_price_of_the_selected_miss(explorer, monkeypatch):
    c, run = explorer.controls, load_run(explorer.shown)
    score = run.test["score"].to_numpy().copy()
    score[np.flatnonzero(run.test["label"])[0]] = score.min() / 2  # a miss that costs false alarms
    monkeypatch.setitem(run.__dict__, "test", run.test.assign(score=score))
    monkeypatch.setitem(run.__dict__, "order", score.argsort())
    c["alarm"].value, c["defects"].value = 2, 10
    c["rank"].value = 1 + int((run.test["label"].to_numpy()[run.order] == 0).argmax())  # a normal image
    assert "is normal, so it cannot be missed" in explorer.text.value
    explorer.guides["the price of a miss"].click()
    assert explorer.place == explorer.worst_miss()
    price = c["miss"].value
    assert f"at least <b>{plain(price)} €</b>" in explorer.text.value
    score = run.test["score"][explorer.place]
    assert score > c["threshold"].value == explorer.cheapest()
    c["miss"].value = 0.97 * price
    assert score <= explorer.cheapest()
    c["defects"].value = 0
    assert "nothing to miss" in explorer.text.value


def test_a_short_threshold_decides_alike():
    assert short(1.23456789, np.array([1.0, 2.0])) == 1.235
    assert short(1.23456789, np.array([1.0, 2.0]), np.array([1.2345, 1.23457])) == 1.234568
    assert short(0.5, np.array([1.0])) == 0.5


def test_what_a_threshold_promises_is_the_rule_of_the_calibration_images():
    calibration = np.random.default_rng(0).exponential(size=99)
    rule = rule_for(calibration, 0.05)
    assert promised(calibration, rule.threshold) == (rule.expected, rule.low, rule.high)
    assert promised(calibration, 1e9) == promised(calibration, calibration.max())
    assert promised(calibration, 0.0)[0] == pytest.approx(0.99)


@pytest.mark.parametrize("name", ["miss", "alarm", "defects"])
def test_every_cost_changes_what_is_shown(explorer, name):
    c = explorer.controls
    c["miss"].value, c["alarm"].value, c["defects"].value = 100, 2, 10
    for cut in (2, c["cut"].max - 1):  # with a false alarm, with a miss
        c["cut"].value = cut
        before = explorer.text.value
        c[name].value *= 3
        if explorer.text.value != before:
            return
    pytest.fail(f"{name} changes nothing")
