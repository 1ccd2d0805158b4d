"""The overview figure: test images with each model's Grad-CAM map, score and verdict."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from adnlib.errors import AdnError
from adnlib.experiments.runs import Run
from adnlib.explain.maps import grad_cam
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR, STYLE, short_name


def overview(runs: Sequence[Run], columns: int = 6) -> Figure:
    """Test images in the first row, and in a row per run its Grad-CAM map with its score and verdict.

    runs: of one category, with one image size. The images are chosen by a rule: as many normal images as of each kind
    of defect, evenly spaced by the first run's score (a single one has the median score). Each map is scaled to its own
    range.
    """
    if not runs:
        raise AdnError("There are no runs to compare: train one with `adn train`.")
    dataset, test = runs[0].dataset(), runs[0].test.reset_index(drop=True)
    chosen = typical_images(test["defect"].to_numpy(), test["score"].to_numpy(), columns)
    size = runs[0].facts["preset"]["image_size"]
    images = dataset.test.images(size)[chosen] if len(dataset.test) == len(test) else None
    if images is None or [sample.defect for sample in dataset.test] != list(test["defect"]):
        raise AdnError(f"The test images of {dataset} are not those of {runs[0].folder.name}: train it again.")
    with plt.rc_context(STYLE):
        shape = (1 + len(runs), len(chosen))
        figure, axes = plt.subplots(
            *shape, figsize=(1.9 * shape[1] + 1.1, 2.1 * shape[0] + 0.2), squeeze=False, layout="constrained"
        )
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
        for axis, index, image in zip(axes[0], chosen, images, strict=True):
            sample = dataset.test[index]
            axis.imshow(image.permute(1, 2, 0).numpy())
            axis.set_title(short_name(sample.defect.replace("_", " "), 32) if sample.label else "normal", fontsize=10)
            mask = sample.mask_at(size) if sample.label else None
            if mask is not None and mask.any():
                axis.contour(mask.numpy(), [0.5], colors=["#ff40ff"], linewidths=1.2)
            _frame(axis, bool(sample.label))
        axes[0, 0].set_ylabel("test image", fontsize=10)
        for row, run in zip(axes[1:], runs, strict=True):
            scores, threshold = run.test["score"].to_numpy()[chosen], run.facts["metrics"]["threshold"]
            for axis, image, heat, score in zip(row, images, grad_cam(run.model(), images), scores, strict=True):
                axis.imshow(image.float().mean(dim=0).numpy(), cmap="gray", vmin=0, vmax=510)
                axis.imshow(heat.numpy(), cmap="magma", vmin=0, vmax=1, alpha=0.65)
                anomalous = score > threshold
                axis.set_title(f"{score:.3g}: {'anomalous' if anomalous else 'normal'}", fontsize=9)
                _frame(axis, anomalous)
            row[0].set_ylabel(f"{run.variant}\nthreshold {threshold:.3g}", fontsize=10)
    return figure


def typical_images(defects: np.ndarray, scores: np.ndarray, count: int) -> list[int]:
    """Up to `count` indices into (N,), as many for "good" as for each kind of defect, evenly spaced by score."""
    kinds = ["good", *sorted(set(defects) - {"good"})][:count]
    each = count // len(kinds)
    order = np.argsort(scores, kind="stable")
    groups = [order[defects[order] == kind] for kind in kinds]
    return [int(group[int((i + 0.5) / each * len(group))]) for group in groups if len(group) for i in range(each)]


def _frame(axis, anomalous: bool) -> None:
    for spine in axis.spines.values():
        spine.set(visible=True, linewidth=2.5, color=ANOMALOUS_COLOUR if anomalous else NORMAL_COLOUR)
