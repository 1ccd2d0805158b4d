"""Finished runs for the panels: model, data, scores and heat maps, each read or computed only once."""

import io
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from torch import Tensor

from adnlib.datasets import Dataset
from adnlib.differnet import DifferNet
from adnlib.errors import AdnError
from adnlib.experiments.runs import Run, read_run, read_runs
from adnlib.imagesets.reading import Sample, read_picture
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.views import View

AS_IT_IS = (View(),)  # the unchanged image as the only view
THUMB = 56  # side in px
KEPT = 512  # images, maps and scores cached per run


class LoadedRun:
    """A run with its model and data. `place` is an index into `dataset.test`; `order` converts a rank to it."""

    def __init__(self, run: Run):
        self.run = run
        self._kept: dict = {}

    @property
    def name(self) -> str:
        """The variant, and AlexNet's weights if they are not ImageNet's."""
        weights = self.run.parameters["weights"]
        return self.run.variant + ("" if weights == "imagenet" else f" ({weights} weights)")

    @cached_property
    def model(self) -> DifferNet:
        return self.run.model()

    @cached_property
    def dataset(self) -> Dataset:
        dataset = self.run.dataset()
        names = [f"{sample.path.parent.name}/{sample.path.name}" for sample in dataset.test]
        if names != list(self.run.test["image"]):
            raise AdnError(f"The test images of {dataset} are not those of {self.run.folder.name}: train it again.")
        return dataset

    @cached_property
    def test(self) -> pd.DataFrame:
        """The scores of the test images, in the order of `dataset.test`."""
        return self.run.test.reset_index(drop=True)

    @cached_property
    def order(self) -> np.ndarray:
        """Indices (N,) into `dataset.test`, from the lowest score to the highest."""
        return self.test["score"].to_numpy().argsort(kind="stable")

    @property
    def threshold(self) -> float:
        return self.run.facts["metrics"]["threshold"]

    @property
    def size(self) -> int:
        return self.run.facts["preset"]["image_size"]

    def image(self, place: int) -> Tensor:
        """The image `dataset.test[place]`, uint8 (3, size, size)."""
        return read(self.dataset.test[place], self.size)

    def heat(self, place: int) -> np.ndarray:
        """The Grad-CAM map of that image, (size, size) in [0, 1]."""
        return self.once(("heat", place), lambda: heat_map(self.model, self.image(place)))

    def once(self, key, make: Callable):
        """The cached result of `make()` for this key; discarded when the run is trained again."""
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = make()
        return self._kept[key]


def heat_map(model: DifferNet, image: Tensor) -> np.ndarray:
    """Grad-CAM of one unchanged image (3, H, W), without other views: (H, W) in [0, 1]."""
    from adnlib.explain.maps import grad_cam  # slow to import: the first panel does not need it

    return grad_cam(model, image[None], views=AS_IT_IS)[0].numpy()


def overlay(image: Tensor, heat: np.ndarray) -> np.ndarray:
    """A heat map (H, W) in [0, 1] over its image, uint8 (3, H, W) -> (H, W, 3): dark at 0, yellow at 1."""
    grey = image.float().mean(dim=0).numpy()[..., None] * 0.5
    return (grey + 127 * matplotlib.colormaps["viridis"](heat)[..., :3]).astype(np.uint8)


def load_run(folder: Path | str) -> LoadedRun:
    """The run in `folder`. A few runs stay in memory until they are trained again."""
    path = Path(folder) / "parameters.json"
    return _open(Path(folder), path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=6)
def _open(folder: Path, written: int) -> LoadedRun:
    return LoadedRun(read_run(folder))


@lru_cache(maxsize=512)
def read(sample: Sample, size: int) -> Tensor:
    """`sample.read(size)`, cached."""
    return sample.read(size)


def runs_in(root: Path | str, **wanted) -> list[Run]:
    """The finished runs under `root`. If there are none, AdnError states how to train some."""
    runs = [run for run in read_runs(root, **wanted) if run.facts["metrics"]["auroc"] is not None]  # with test images
    if not runs:
        what = f" with {', '.join(f'{name} {value}' for name, value in wanted.items())}" if wanted else ""
        raise AdnError(
            f"There is no finished run{what} in {root} yet: train some with `make run` or notebooks/07_train, "
            "then execute this cell again."
        )
    return runs


def choices(runs: list[Run]) -> list[tuple[str, str]]:
    """(label, folder) of each run, for a control that selects a run."""
    return [(f"{r.variant} · {r.parameters['preset']} · seed {r.parameters['seed']}", str(r.folder)) for r in runs]


def category_names(runs: list[Run]) -> list[str]:
    """The data set and category of each run as a short label, with a path only where two labels would be equal."""
    pairs = [(run.parameters["dataset"].rstrip("/"), run.parameters["category"] or "") for run in runs]
    names = {}
    for where in range(3):
        labels = {pair: _label(*pair, where) for pair in pairs if pair not in names}
        counts = Counter(labels.values())
        names |= {pair: label for pair, label in labels.items() if counts[label] == 1}
    return [names[pair] for pair in pairs]


def _label(dataset: str, category: str, where: int) -> str:
    """where: 0 is the name of the data set alone, 1 adds its parent folder in brackets, 2 the full path."""
    *above, name = dataset.removeprefix("folder:").split("/")
    brackets = ["", above[-1] if above else "", dataset][where]
    return " · ".join(filter(None, [f"{name} ({brackets})" if brackets else name, category]))


def by_category(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs grouped by their images, with the labels of `category_names`."""
    groups: dict[str, list[Run]] = {}
    for run, name in zip(runs, category_names(runs), strict=True):
        groups.setdefault(name, []).append(run)
    return groups


@lru_cache(maxsize=16)
def contact_sheet(paths: tuple[Path, ...], labels: tuple[int, ...]) -> bytes:
    """Thumbnails side by side in one JPEG, each with a frame in the colour of its label."""
    with ThreadPoolExecutor() as pool:
        small = list(pool.map(_thumbnail, paths))
    whole = Image.new("RGB", (THUMB * len(small), THUMB))
    for place, (picture, label) in enumerate(zip(small, labels, strict=True)):
        colour = tuple(round(255 * c) for c in (ANOMALOUS_COLOUR if label else NORMAL_COLOUR))
        whole.paste(ImageOps.expand(picture, 3, colour), (THUMB * place, 0))
    buffer = io.BytesIO()
    whole.save(buffer, "jpeg", quality=80)
    return buffer.getvalue()


@lru_cache(maxsize=1024)
def _thumbnail(path: Path) -> Image.Image:
    return read_picture(path).resize((THUMB - 6, THUMB - 6), Image.Resampling.BILINEAR, reducing_gap=2)
