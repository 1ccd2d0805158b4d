import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from adnlib import AdnError, plots


def scores():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.1, 20), [np.inf, 1e30], rng.normal(3, 1, 18)])
    return pd.DataFrame({"label": [0] * 20 + [1] * 20, "score": values})


def history(start=100.0):
    epochs = np.arange(1, 6)
    return pd.DataFrame({"epoch": epochs, "train_nll": start / epochs**3, "validation_nll": start / epochs**3 + 1})


INTERVALS = pd.DataFrame({"variant": ["a", "b"], "AUROC": [0.9, 0.8], "95 % from": [0.8, 0.7], "to": [0.95, 0.9]})


@pytest.mark.parametrize("draw", [
    lambda: plots.score_histogram(scores(), 1.5, "Scores"),
    lambda: plots.roc_curves({"a": scores(), "b": scores()}, "ROC"),
    lambda: plots.learning_curves({"a": (history(), 3)}, "Learning"),
    lambda: plots.auroc_intervals(INTERVALS, "AUROC"),
])  # fmt: skip
def test_title_axes_and_units(draw):
    figure = draw()
    axis = figure.axes[0]
    assert axis.get_title() and axis.get_xlabel()
    assert axis.get_ylabel() or [label.get_text() for label in axis.get_yticklabels()]
    plt.close(figure)


def test_image_grids_mark_labels_by_colour(tiny):
    test = pd.DataFrame({"score": np.arange(8.0), "label": tiny.test.labels})
    figure = plots.scored_images(tiny.test, test, [0, 7], "Scores")
    frames = [axis.spines["left"].get_edgecolor()[:3] for axis in figure.axes[:2]]
    assert frames == [plots.NORMAL_COLOUR, plots.ANOMALOUS_COLOUR]
    assert [axis.get_title() for axis in figure.axes[:2]] == ["score 0", "score 7"]
    plt.close(figure)


def test_disagreements_are_the_widest(tiny):
    same, other = np.arange(8.0), np.arange(8.0)
    other[[4, 7]] = other[[7, 4]]
    tests = {"a": pd.DataFrame({"score": same}), "b": pd.DataFrame({"score": other})}
    figure = plots.disagreements(tiny.test, tests, count=2)
    titles = [axis.get_title() for axis in figure.axes]
    assert sorted(titles[:2]) == ["a: 100%\nb: 62%", "a: 62%\nb: 100%"]
    plt.close(figure)


def test_no_images():
    with pytest.raises(AdnError, match="no images to show"):
        plots.image_grid([], [], "Nothing")


@pytest.mark.parametrize("weights, named", [("imagenet", False), ("random", True)])
def test_show_names_random_weights(monkeypatch, weights, named):
    plt.close("all")
    shown = {}
    monkeypatch.setattr(plots, "display", lambda figure, metadata: shown.update(figure=figure, **metadata["image/png"]))
    plots.show(plots.auroc_intervals(INTERVALS, "AUROC"), "Two intervals.", weights)
    assert ("random weights" in shown["alt"]) == named
    assert any("random weights" in text.get_text() for text in shown["figure"].texts) == named
    assert not plt.get_fignums()


def test_tables_have_no_index_and_words_to_the_left():
    text = plots.table(pd.DataFrame({"name": ["a"], "count": [12345], "share": [0.12345]})).to_html()
    assert "12,345" in text and "0.123" in text and "text-align: left" in text
    assert "<th" not in text.split("<tbody>")[1]


def test_a_tour_has_a_row_for_each_category(tiny):
    figure = plots.tour([tiny, tiny], each=2)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["tiny\ngood"] * 2 + ["tiny\nspot"] * 2 + ["tiny\ngood"] * 2 + ["tiny\nspot"] * 2
    plots.plt.close(figure)
