"""One image for all panels: chosen in one, it is chosen in every other, and it is in the page's address."""

import asyncio
import html
from collections.abc import Callable, Iterable
from typing import ClassVar
from weakref import WeakSet

import numpy as np
from ipywidgets import HTML

from adnlib.imagesets.reading import ANOMALOUS
from adnlib.panels.loaded_run import LoadedRun, load_run, runs_in
from adnlib.panels.panel import Panel

PAUSE = 0.3  # seconds without another choice before the other panels follow


class ImagePanel(Panel):
    """A panel that shows a test image of a run: a subclass says which, and can show another.

    A choice is (data set, category, name of the image). The other panels of the kernel follow it if their run has the
    same images. The page's address contains the name; a page that is opened with it chooses this image.
    """

    choice: ClassVar[tuple] = ()
    panels: ClassVar[WeakSet["ImagePanel"]] = WeakSet()
    task: ClassVar[asyncio.Task | None] = None

    def __init__(self, *arguments, tries: dict[str, Callable[[], None]] | None = None, **options):
        guides = {
            "the worst miss": lambda: self.show(self.worst_miss()),
            "nearest to the threshold": lambda: self.show(int(distance(self.loaded).argmin())),
            "models disagree most": lambda: self.show(self.most_disputed()),
        }
        self.built, self.chosen, self.walk = False, (), ([], -1)
        self.named = HTML()
        tries = tries or {}
        super().__init__(*arguments, tries={**tries, **guides, **tries}, **options)  # their own first
        self.built = True
        self.panels.add(self)
        self.frame.observe(lambda change: self.choose((None, None, change["new"])), "asked")
        self.adopt()

    @property
    def loaded(self) -> LoadedRun:
        """The run; by default that of the control `run`."""
        return load_run(self.controls["run"].value)

    @property
    def place(self) -> int:
        """The index of the shown image in `dataset.test`; by default from the control `image`."""
        return self.controls["image"].value - 1

    def show(self, place: int) -> None:
        self.controls["image"].value = place + 1

    def redraw(self) -> None:
        """An image that was not chosen by the visitor, as at the start, is no choice."""
        super().redraw()
        self.named.value = f"<p>{html.escape(self.about_image())}</p>"
        p = self.loaded.run.parameters
        before, self.chosen = self.chosen, (p["dataset"], p["category"], self.loaded.test["image"][self.place])
        if self.built and self.chosen != before:
            self.choose(self.chosen)

    def choose(self, choice: tuple) -> None:
        """Makes this the choice of all panels. Those that are not in use follow after a pause in the choosing."""
        if choice == ImagePanel.choice:
            return
        ImagePanel.choice, self.frame.image = choice, choice[-1]
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # as in a test
            self._spread()
            return
        if ImagePanel.task:
            ImagePanel.task.cancel()
        ImagePanel.task = loop.create_task(self._spread_later())

    async def _spread_later(self) -> None:
        await asyncio.sleep(PAUSE)
        for panel in list(self.panels):
            panel.adopt()
            await asyncio.sleep(0.01)  # messages first

    def _spread(self) -> None:
        for panel in list(self.panels):
            panel.adopt()

    def adopt(self) -> None:
        """Shows the image of the choice, if the run has it and no picture of the visitor's is shown."""
        own = self.controls.get("own")
        if not ImagePanel.choice or self.message.value or (own and own.value):
            return
        *images, name = ImagePanel.choice
        p = self.loaded.run.parameters
        names = list(self.loaded.test["image"])
        if images in ([None, None], [p["dataset"], p["category"]]) and name in names:
            self.show(names.index(name))

    def about_image(self) -> str:
        """What is shown: the name of the file, and what it is known to be."""
        own = self.controls.get("own")
        if own and own.value:
            return "Shown: your own picture."
        sample = self.loaded.dataset.test[self.place]
        kind = f"anomalous ({sample.defect.replace('_', ' ')})" if sample.label == ANOMALOUS else "normal"
        return f"Shown: {sample.path.name}, {kind}."

    def next_of(self, order: Iterable[int]) -> None:
        """Shows the next image of an order, or the first one if the shown image is not one of a walk along it."""
        places = [int(place) for place in order]
        at = places.index(self.place) + 1 if self.walk == (places, self.place) else 0
        self.walk = places, places[at % len(places)]
        self.show(self.walk[1])

    def worst_miss(self) -> int:
        """The anomalous image with the lowest score."""
        test = self.loaded.test
        return int(test["score"].where(test["label"] == ANOMALOUS).idxmin())

    def most_disputed(self) -> int:
        """The image whose ranks by score differ most between the runs on the same images."""
        p, names = self.loaded.run.parameters, list(self.loaded.test["image"])
        runs = runs_in(self.loaded.run.folder.parent, dataset=p["dataset"], category=p["category"])
        ranks = [run.test["score"].rank().to_numpy() for run in runs if list(run.test["image"]) == names]
        return int(np.ptp(np.stack(ranks), axis=0).argmax())


def distance(loaded: LoadedRun) -> np.ndarray:
    """How far each test image is from the threshold, as the absolute logarithm of the ratio (N,)."""
    return np.abs(np.log(loaded.test["score"].to_numpy().clip(1e-30, 1e30) / loaded.threshold))
