"""The first picture: images chosen by rule, and each run's verdict on them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from adnlib import AdnError, RunConfig, train_run
from adnlib.explain.overview import overview, typical_images


def test_images_are_evenly_spaced_by_score():
    defects = np.array(["hole", "good", "good", "hole", "good", "scratch"])
    scores = np.array([5.0, 1.0, 3.0, 7.0, 2.0, 6.0])
    assert typical_images(defects, scores, 3) == [4, 3, 5]  # of "good", "hole" and "scratch" the (upper) median
    assert typical_images(defects, scores, 6) == [1, 2, 0, 3, 5, 5]
    assert typical_images(defects, scores, 2) == [4, 3]


@pytest.mark.slow
def test_every_run_has_a_row_with_scores_and_verdicts(tiny_folder, tmp_path):
    configs = [RunConfig(f"folder:{tiny_folder}", "tiny", attention, preset="smoke") for attention in (None, "se")]
    runs = [train_run(tmp_path, config, progress=False) for config in configs]
    figure = overview(runs, 4)
    axes = np.array(figure.axes).reshape(3, 4)
    assert [axis.get_title() for axis in axes[0]] == ["normal", "normal", "spot", "spot"]
    for row, run in zip(axes[1:], runs, strict=True):
        assert row[0].get_ylabel().startswith(run.variant)
        above = [axis.get_title().endswith("anomalous") for axis in row]
        scores = [float(axis.get_title().split(":")[0]) for axis in row]
        assert above == [score > run.facts["metrics"]["threshold"] for score in scores]
    plt.close(figure)


def test_without_a_run_there_is_nothing_to_show():
    with pytest.raises(AdnError, match="no runs to compare"):
        overview([])
