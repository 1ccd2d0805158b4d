"""Variants side by side: runs of one preset and seed on the same images, on scales that all of them share.

Scores of two models cannot be compared. What can: the p-value (adnlib.calibration) and the rank among the test images.
"""

import html
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy.stats import rankdata

from adnlib.calibration import p_values
from adnlib.experiments.runs import Run
from adnlib.imagesets.reading import ANOMALOUS, NORMAL
from adnlib.panels.loaded_run import LoadedRun, load_run
from adnlib.panels.thresholds import plain
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR

MOST = 4  # variants that are shown side by side


def families(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs of the same images, grouped by preset, seed and weights, under a label."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        p = run.parameters
        weights = "" if p["weights"] == "imagenet" else f" · {p['weights']} weights"
        groups.setdefault(f"{p['preset']} · seed {p['seed']}{weights}", []).append(run)
    return groups


def family(run: str, runs: list[Run]) -> list[LoadedRun]:
    """The run in the folder `run` and its variants with an intact model, at most MOST; the order is that of `runs`."""
    group = next(group for group in families(runs).values() if run in map(str, [one.folder for one in group]))
    others = [one for one in group if str(one.folder) != run and one.has_model][: MOST - 1]
    return [load_run(one.folder) for one in group if str(one.folder) == run or one in others]


def family_choices(runs: list[Run]) -> list[tuple[str, str]]:
    """(label, folder) of each family, for a control that selects one; each variant beyond MOST has its own choice."""
    found = []
    for name, group in families(runs).items():
        found.append((f"{', '.join(run.variant for run in group[:MOST])} · {name}", str(group[0].folder)))
        found += [(f"{run.variant} and others · {name}", str(run.folder)) for run in group[MOST:]]
    return found


def p_value(run: LoadedRun, score: float) -> float:
    """The share of normal images, including this one, with at least this score."""
    return float(p_values(np.array(score), run.run.calibration["score"].to_numpy()))


def below(run: LoadedRun, score: float) -> int:
    """The number of test images with a lower score."""
    return int((run.test["score"] < score).sum())


def disagreement(runs: list[LoadedRun]) -> np.ndarray:
    """How much the variants disagree on each test image (N,): the largest difference of two ranks, as a share of N."""
    ranks = np.stack([rankdata(run.test["score"]) for run in runs])
    return (ranks.max(axis=0) - ranks.min(axis=0)) / ranks.shape[1]


def most_disputed(runs: list[LoadedRun], label: int | None = None) -> np.ndarray:
    """Indices of the test images (of one label, if given), from the most disputed to the least."""
    order = (-disagreement(runs)).argsort(kind="stable")
    return order if label is None else order[runs[0].test["label"].to_numpy()[order] == label]


def detected_by_one(runs: list[LoadedRun]) -> list[int]:
    """Indices of the anomalous test images that exactly one of several runs detects, the most disputed first."""
    detected = np.sum([run.test["score"] > run.threshold for run in runs], axis=0)
    return [int(place) for place in most_disputed(runs, ANOMALOUS) if detected[place] == 1 < len(runs)]


def draw_ranks(axis: Axes, run: LoadedRun) -> Line2D:
    """The test images as ticks from the lowest score to the highest; returns the line at the run's threshold."""
    ordered = run.test.iloc[run.order]
    at = (np.arange(len(ordered)) + 0.5) / len(ordered)
    for label, colour, low, high in ((NORMAL, NORMAL_COLOUR, 0.05, 0.5), (ANOMALOUS, ANOMALOUS_COLOUR, 0.5, 0.95)):
        axis.vlines(at[ordered["label"] == label], low, high, colors=[colour], linewidth=1.2)
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.05, 1.05), yticks=[], xticks=[])
    return axis.axvline(share_below(run, run.threshold, above=True), color="black", linestyle="--", linewidth=1.4)


def share_below(run: LoadedRun, score: float, above: bool = False) -> float:
    """The share of test images with a lower score; above: of those with the same score, too."""
    scores = run.test["score"]
    return float(((scores <= score) if above else (scores < score)).mean())


def verdict_table(runs: list[LoadedRun], scores: Sequence[float], before: Sequence[float] = ()) -> str:
    """The verdicts of variants on one image as an HTML table; before: the scores of the image as it was."""
    rows = []
    for at, (run, score) in enumerate(zip(runs, scores, strict=True)):
        called = "<b>anomalous</b>" if score > run.threshold else "normal"
        was = f"<td>{p_value(run, before[at]):.2g}</td>" if before else ""
        rows.append(
            f"<tr><th scope='row'>{html.escape(run.name)}</th><td>{called}</td>{was}<td>{p_value(run, score):.2g}</td>"
            f"<td>{below(run, score)} of {len(run.test)}</td><td>{plain(score / run.threshold)}</td></tr>"
        )
    was = "<th scope='col'>p&#8209;value before</th>" if before else ""
    images = {len(run.run.calibration) for run in runs}
    least = f"The smallest p-value that {max(images)} calibration images allow is {1 / (1 + max(images)):.2g}."
    return (
        f"<table class='adn-verdicts'><caption>{least}</caption><tr><th></th><th scope='col'>verdict</th>"
        f"{was}<th scope='col'>p&#8209;value</th><th scope='col'>test images with a lower score</th>"
        f"<th scope='col'>score / threshold</th></tr>{''.join(rows)}</table>"
    )
