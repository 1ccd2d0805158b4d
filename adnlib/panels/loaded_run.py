"""Finished runs as the panels need them: model, data, scores and heat maps at hand, each read or computed once."""

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
from adnlib.explain.maps import grad_cam
from adnlib.imagesets.reading import Sample, read_picture
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.views import View

AS_IT_IS = (View(),)  # one view: the image itself
THUMB = 56  # px a side
KEPT = 512  # pictures, maps and scores kept for each run


class LoadedRun:
    """A run with its model and data. A place is that in `dataset.test`; `order` leads to it from a rank."""

    def __init__(self, run: Run):
        self.run = run
        self._kept: dict = {}

    @property
    def name(self) -> str:
        """The variant, and a word about AlexNet's weights where they are not ImageNet's."""
        weights = self.run.parameters["weights"]
        return self.run.variant + ("" if weights == "imagenet" else f" ({weights} weights)")

    @cached_property
    def model(self) -> DifferNet:
        return self.run.model()

    @cached_property
    def dataset(self) -> Dataset:
        dataset = self.run.dataset()
        found = [f"{sample.path.parent.name}/{sample.path.name}" for sample in dataset.test]
        if found != list(self.run.test["image"]):
            raise AdnError(f"The test images of {dataset} are not those of {self.run.folder.name}: train it again.")
        return dataset

    @cached_property
    def test(self) -> pd.DataFrame:
        """The test images' scores, numbered like `dataset.test`."""
        return self.run.test.reset_index(drop=True)

    @cached_property
    def order(self) -> np.ndarray:
        """(N,) the places in `dataset.test`, from the lowest score to the highest."""
        return self.test["score"].to_numpy().argsort(kind="stable")

    @property
    def threshold(self) -> float:
        return self.run.facts["metrics"]["threshold"]

    @property
    def size(self) -> int:
        return self.run.facts["preset"]["image_size"]

    def image(self, place: int) -> Tensor:
        """uint8 (3, size, size) of `dataset.test[place]`."""
        return read(self.dataset.test[place], self.size)

    def heat(self, place: int) -> np.ndarray:
        """Where the model looks at that image: Grad-CAM, (size, size) in [0, 1]."""
        return self.once(("heat", place), lambda: heat_map(self.model, self.image(place)))

    def once(self, key, make: Callable):
        """What `make()` gave for this key; it is forgotten when the run is trained anew."""
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[key] = make()
        return self._kept[key]


def heat_map(model: DifferNet, image: Tensor) -> np.ndarray:
    """Grad-CAM of one image (3, H, W) as it stands, without other views: (H, W) in [0, 1]."""
    return grad_cam(model, image[None], views=AS_IT_IS)[0].numpy()


def overlay(image: Tensor, heat: np.ndarray) -> np.ndarray:
    """A heat map (H, W) in [0, 1] over its image, uint8 (3, H, W) -> (H, W, 3): dark where it is 0, yellow where 1."""
    grey = image.float().mean(dim=0).numpy()[..., None] * 0.5
    return (grey + 127 * matplotlib.colormaps["viridis"](heat)[..., :3]).astype(np.uint8)


def load_run(folder: Path | str) -> LoadedRun:
    """The run in `folder`; a few are kept in memory, until they are trained anew."""
    path = Path(folder) / "parameters.json"
    return _open(Path(folder), path.stat().st_mtime_ns if path.exists() else 0)


@lru_cache(maxsize=6)
def _open(folder: Path, written: int) -> LoadedRun:
    return LoadedRun(read_run(folder))


@lru_cache(maxsize=512)
def read(sample: Sample, size: int) -> Tensor:
    """`sample.read(size)`, once."""
    return sample.read(size)


def runs_in(root: Path | str, **wanted) -> list[Run]:
    """The finished runs under `root`; AdnError says in one sentence how there would be some."""
    found = read_runs(root, **wanted)
    if not found:
        what = f" with {', '.join(f'{name} {value}' for name, value in wanted.items())}" if wanted else ""
        raise AdnError(
            f"There is no finished run{what} in {root} yet: `make run` or notebooks/07_train trains "
            "some; then execute this cell again."
        )
    return found


def choices(runs: list[Run]) -> list[tuple[str, str]]:
    """(words, folder) of runs, for a control that chooses one."""
    return [(f"{r.variant} · {r.parameters['preset']} · seed {r.parameters['seed']}", str(r.folder)) for r in runs]


def category_names(runs: list[Run]) -> list[str]:
    """Each run's data set and category as a person says them: no path, unless two would be said alike."""
    pairs = [(run.parameters["dataset"].rstrip("/"), run.parameters["category"] or "") for run in runs]
    names = {}
    for where in range(3):
        said = {pair: _said(*pair, where) for pair in pairs if pair not in names}
        counts = Counter(said.values())
        names |= {pair: name for pair, name in said.items() if counts[name] == 1}
    return [names[pair] for pair in pairs]


def _said(dataset: str, category: str, where: int) -> str:
    """where: 0 the data set's name alone, 1 with its parent folder's in brackets, 2 with all that was given."""
    *above, name = dataset.removeprefix("folder:").split("/")
    brackets = ["", above[-1] if above else "", dataset][where]
    return " · ".join(filter(None, [f"{name} ({brackets})" if brackets else name, category]))


def by_category(runs: list[Run]) -> dict[str, list[Run]]:
    """Runs of the same images, by `category_names`."""
    found: dict[str, list[Run]] = {}
    for run, name in zip(runs, category_names(runs), strict=True):
        found.setdefault(name, []).append(run)
    return found


def contact_sheet(paths: tuple[Path, ...], labels: tuple[int, ...]) -> bytes:
    """Small pictures side by side as one JPEG, each in a frame of its label's colour."""
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
