import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import torch
from matplotlib import pyplot as plt

from adnlib import AdnError, plots
from adnlib.plots import style


def scores():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(1, 0.1, 20), [np.inf, 1e30], rng.normal(3, 1, 18)])
    return pd.DataFrame({"label": [0] * 20 + [1] * 20, "score": values})


def history(start=100.0):
    epochs = np.arange(1, 6)
    return pd.DataFrame({"epoch": epochs, "train_nll": start / epochs**3, "validation_nll": start / epochs**3 + 1})


INTERVALS = pd.DataFrame({"variant": ["a", "b"], "AUROC": [0.9, 0.8], "95 % from": [0.8, 0.7], "to": [0.95, 0.9]})


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.score_histogram(scores(), 1.5, "Scores"),
        lambda: plots.roc_curves({"a": scores(), "b": scores()}, "ROC"),
        lambda: plots.learning_curves({"a": (history(), 3)}, "Learning"),
        lambda: plots.auroc_intervals(INTERVALS, "AUROC"),
        lambda: plots.roc_curves({"a": scores()}, "ROC", (0.1, 0.8, "threshold")),
        lambda: plots.view_counts([0.8, 0.9], [(0.7, 0.85), (0.8, 0.95)], [3.0], 1),
        lambda: plots.gated_features(torch.zeros(4), torch.ones(4), "Gate 0.5"),
    ],
)
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


def test_the_pipeline_has_a_row_for_each_view_and_its_mean_square():
    views = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    figure = plots.pipeline(views, torch.rand(2, 9), torch.tensor([[1.0] * 9, [2.0] * 9]), "One image")
    titles = [axis.get_title(loc="right") for axis in figure.axes]
    assert [title for title in titles if title] == ["mean z² = 1", "mean z² = 4"]
    assert [axis.images[0].get_array().shape[0] for axis in figure.axes[:3]] == [16, 8, 4]
    plt.close(figure)


def test_the_collapse_is_drawn_with_and_without_shrinkage():
    h = pd.DataFrame({"epoch": [0, 1], "NLL": [0.0, -2.0], "spread": [1.0, np.exp(-1)], "AUROC": [0.6, 0.7]})
    figure = plots.collapse({"frozen": h.assign(spread=1.0), "trained": h}, "Collapse")
    loss = [line.get_ydata() for line in figure.axes[0].lines if len(line.get_ydata())]
    np.testing.assert_allclose(loss, [[0, -2], [0, -2], [0, -1]])
    plt.close(figure)


def test_the_worst_ranked_are_the_mistakes(tiny):
    test = pd.DataFrame({"score": np.arange(8.0), "label": tiny.test.labels})
    figures = plots.worst_and_best(tiny.test, test, count=1)
    titles = [[axis.get_title() for axis in figure.axes[:2]] for figure in figures.values()]
    assert titles == [["score 4", "score 3"], ["score 7", "score 0"]]
    plt.close("all")


def test_no_images():
    with pytest.raises(AdnError, match="no images to show"):
        plots.image_grid([], [], "Nothing")


@pytest.mark.parametrize("weights, named", [("imagenet", False), ("random", True)])
def test_show_names_random_weights(monkeypatch, weights, named):
    plt.close("all")
    shown = {}
    monkeypatch.setattr(style, "display", lambda figure, metadata: shown.update(figure=figure, **metadata["image/png"]))
    plots.show(plots.auroc_intervals(INTERVALS, "AUROC"), "Two intervals.", weights)
    assert ("random weights" in shown["alt"]) == named
    assert any("random weights" in text.get_text() for text in shown["figure"].texts) == named
    assert not plt.get_fignums()


def test_tables_have_no_index_and_words_to_the_left():
    text = plots.table(pd.DataFrame({"name": ["a"], "count": [12345], "share": [0.12345]})).to_html()
    assert "12,345" in text and "0.123" in text and "text-align: left" in text
    assert "<th" not in text.split("<tbody>")[1]


def test_a_column_of_a_table_can_have_its_own_digits():
    text = plots.table(pd.DataFrame({"share": [0.12345], "seconds": [12.345]}), digits={"seconds": 0}).to_html()
    assert "0.123" in text and ">12<" in text


@pytest.mark.parametrize("name", ["cividis", "viridis", "PuOr_r"])
def test_numbers_on_a_colour_have_enough_contrast(name):
    """The formula of WCAG 2.2, with the two inks as they are: luminance 0 and 1."""
    for colour in plt.get_cmap(name)(np.linspace(0, 1, 101))[:, :3]:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        contrast = {"white": 1.05 / (luminance + 0.05), "black": (luminance + 0.05) / 0.05}
        assert contrast[style.ink(colour)] == max(contrast.values()) >= 4.5


def test_the_numbers_of_a_heat_map_skip_its_empty_cells():
    figure, axis = plt.subplots()
    sns.heatmap([[0.0, np.nan], [np.nan, 1.0]], annot=True, cmap="gray", cbar=False, ax=axis)
    style.ink_numbers(axis)
    assert [text.get_color() for text in axis.texts] == ["white", "black"]
    plt.close(figure)


def test_only_the_first_band_is_filled():
    """Areas over each other would show a third colour that no legend explains."""
    x = np.arange(3)
    figure = plots.lines({name: (x, x, x - 1, x + 1) for name in "ab"}, "Bands", "x", "y")
    assert len(figure.axes[0].collections) == 1
    edges = [line.get_ydata().tolist() for line in figure.axes[0].lines[2:]]
    assert edges == [[-1, 0, 1], [1, 2, 3]]
    plt.close(figure)


def test_a_tour_has_a_row_for_each_category(tiny):
    figure = plots.tour([tiny, tiny], each=2)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == ["tiny\ngood"] * 2 + ["tiny\nspot"] * 2 + ["tiny\ngood"] * 2 + ["tiny\nspot"] * 2
    plt.close(figure)


def test_a_forest_marks_what_is_better_worse_and_neither():
    table = pd.DataFrame({"difference": [0.02, -0.02, 0.0], "low": [0.01, -0.03, -0.01], "high": [0.03, -0.01, 0.01]})
    figure = plots.forest(table.assign(name=["a", "b", "c"]), "Differences")
    colours = figure.axes[0].collections[1].get_facecolors()
    assert len({tuple(colour) for colour in colours}) == 3
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a", "b", "c"]
    assert sorted(figure.axes[0].collections[1].get_offsets()[:, 0]) == pytest.approx([-2, 0, 2])
    plt.close(figure)


def test_a_forest_says_its_numbers_and_where_an_interval_goes_on():
    table = pd.DataFrame({"difference": [0.02, -0.05, 0.01], "low": [0.01, -0.4, None], "high": [0.03, 0.3, None]})
    axis = plots.forest(table.assign(name=["a", "b", "c"]), "Differences").axes[0]
    assert [text.get_text() for text in axis.texts] == ["+2.0 (+1.0 to +3.0)", "-5.0 (-40.0 to +30.0)", "+1.0"]
    assert axis.get_xlim() == (-15, 15)
    left, right = (points.get_offsets().tolist() for points in axis.collections[2:])
    assert (left, right) == ([[-15, 1]], [[15, 1]])
    plt.close(axis.figure)


def test_inflation_has_a_row_for_each_variant():
    table = pd.DataFrame({"variant": ["a", "b", "a"], "over_validation": [0.01, 0.02, 0.03], "over_last": [0, 0, 0.01]})
    figure = plots.inflation(table, "Inflation")
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a", "b"]
    assert sorted(figure.axes[0].collections[0].get_offsets()[:, 0]) == pytest.approx([1, 2, 3])
    plt.close(figure)


def test_the_papers_table_marks_the_best_and_the_best_differnet():
    theirs = pd.DataFrame(
        {
            "category": ["x", "x", "y"],
            "method": ["PatchCore", "DifferNet", "DifferNet"],
            "auroc": [99.0, 90.0, 80.0],
            "source": ["a paper"] * 3,
        }
    )
    ours = pd.DataFrame(
        {
            "variant": ["SE, frozen"] * 2,
            "category": ["x", "y"],
            "mean": [0.95, 0.7],
            "sd": [0.01, None],
            "seeds": [3, 1],
        }
    )
    table = plots.paper_table(ours, theirs)
    rows = {line.split("</th>")[0].split(">")[-1]: line for line in table.to_html().split("<tr>")[2:]}
    assert list(rows) == ["PatchCore [1]", "DifferNet [1]", "SE, frozen (ours)"] and "[1] a paper" in table.to_html()
    assert "95.0 ± 1.0" in rows["SE, frozen (ours)"] and "70.0" in rows["SE, frozen (ours)"]
    styles = {(i, j): css for (i, j), css in table._compute().ctx.items()}
    marks = {key: [name for name, _ in css] for key, css in styles.items()}
    assert marks[0, 0] == ["font-weight"] and marks[2, 0] == ["text-decoration"]  # x: PatchCore; ours of the family
    assert sorted(marks[1, 1]) == ["font-weight", "text-decoration"]  # y: the published DifferNet is both


def test_map_panels_have_a_row_for_each_image_and_a_column_for_each_map():
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    masks = np.zeros((2, 16, 16), bool)
    masks[0, 4:8, 4:8] = True
    maps = {"one": torch.zeros(2, 16, 16), "other": torch.ones(2, 16, 16)}
    figure = plots.map_panels(images, masks, maps, ["a", "b"], "Maps", difference=("other", "one"))
    titles = ["image", "mask", "one", "other", "other\nminus one"]
    assert [axis.get_title() for axis in figure.axes[:5]] == titles
    assert [figure.axes[i].get_ylabel() for i in (0, 5)] == ["a", "b"]
    assert figure.axes[4].images[0].get_array().max() == 1 and len(figure.axes) == 10 + 2
    plt.close(figure)
    figure = plots.map_panels(images, None, maps, ["a", "b"], "Maps")
    assert [axis.get_title() for axis in figure.axes[:3]] == ["image", "one", "other"]
    plt.close(figure)


def test_a_localisation_chart_has_a_row_for_each_map():
    rows = [("m", "DifferNet", 0.7, 0.6, 0.8), ("n", "DifferNet", 0.5, 0.4, 0.6), ("m", "SE", 0.8, 0.7, 0.9)]
    table = pd.DataFrame(rows, columns=["map", "variant", "value", "low", "high"])
    blind = pd.DataFrame({"map": ["centred Gaussian"], "value": [0.6]})
    axis = plots.localisation_chart(table, blind, "Maps", "AUROC").axes[0]
    assert [t.get_text() for t in axis.get_yticklabels()] == ["n", "m"]
    labels = [t.get_text() for t in axis.figure.legends[0].get_texts()]
    assert labels == ["DifferNet", "SE", "centred Gaussian (model-blind)"]
    assert sorted(axis.lines[0].get_xdata()) == [0.5, 0.7]
    plt.close(axis.figure)
