"""Grids of images."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from adnlib.datasets import Dataset, Split
from adnlib.errors import AdnError
from adnlib.imagesets.reading import Sample
from adnlib.plots.style import ANOMALOUS_COLOUR, NORMAL_COLOUR, STYLE, short_name


def image_grid(samples: list[Sample], titles: list[str], heading: str, columns: int = 6) -> Figure:
    """Images in rows of `columns`, each with its title and a frame in the colour of its label."""
    if not samples:
        raise AdnError("There are no images to show: pass at least one.")
    rows = -(-len(samples) // columns)
    height = 1.65 * rows + 0.18 * rows * (1 + max(title.count("\n") + 1 for title in titles)) + 0.3
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(1.65 * columns, height), squeeze=False, layout="constrained"
        )
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, sample, title in zip(axes.flat, samples, titles, strict=False):
            axis.imshow(sample.read(160).permute(1, 2, 0).numpy())
            axis.set_title("\n".join(map(short_name, title.split("\n"))), fontsize=9)
            axis.set_axis_on()
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set(visible=True, linewidth=2.5, color=ANOMALOUS_COLOUR if sample.label else NORMAL_COLOUR)
        figure.suptitle(heading, fontsize=12)
    return figure


def tour(datasets: Sequence[Dataset], each: int = 3) -> Figure:
    """A row for each category: `each` normal training images, then as many anomalous test images of different kinds."""
    shown, titles = [], []
    for dataset in datasets:
        anomalous = [sample for sample in dataset.test if sample.label]
        row = [*dataset.train[:each], *(anomalous[i * len(anomalous) // each] for i in range(each))]
        shown += row
        where = short_name(dataset.category, 32)
        titles += [f"{where}\n{short_name(sample.defect.replace('_', ' '), 32)}" for sample in row]
    return image_grid(shown, titles, "Normal training images (blue), anomalous test images (orange)", columns=2 * each)


def scored_images(split: Split, test: pd.DataFrame, indices: Sequence[int], heading: str) -> Figure:
    """The test images at `indices`, each with its score (`test`: the table Evaluation.test or Run.test)."""
    scores = test["score"].to_numpy()
    return image_grid([split[i] for i in indices], [f"score {scores[i]:.3g}" for i in indices], heading)


def worst_and_best(split: Split, test: pd.DataFrame, count: int = 6) -> dict[str, Figure]:
    """Figures of the images with the worst and with the best ranks, by heading (test: Evaluation.test)."""
    normal, anomalous = (test["score"][test["label"] == label] for label in (0, 1))
    worst = [*anomalous.nsmallest(count).index, *normal.nlargest(count).index]
    best = [*anomalous.nlargest(count).index, *normal.nsmallest(count).index]
    headings = (
        ("Worst ranked: lowest anomalous (orange), highest normal (blue)", worst),
        ("Best ranked: highest anomalous (orange), lowest normal (blue)", best),
    )
    return {heading: scored_images(split, test, shown, heading) for heading, shown in headings}


def disagreements(split: Split, tests: dict[str, pd.DataFrame], count: int = 4) -> Figure:
    """The anomalous and the normal test images whose rank among the scores differs most between models."""
    ranks = pd.DataFrame({name: test["score"].rank(pct=True).to_numpy() for name, test in tests.items()})
    widest = (ranks.max(axis=1) - ranks.min(axis=1)).sort_values(ascending=False).index
    chosen = [i for label in (1, 0) for i in [i for i in widest if split[i].label == label][:count]]
    titles = ["\n".join(f"{name}: {ranks[name][i]:.0%}" for name in tests) for i in chosen]
    heading = "Share of test images with a lower score (orange: anomalous, blue: normal)"
    return image_grid([split[i] for i in chosen], titles, heading, columns=count)
