"""A panel: controls above images that pure functions draw.

Each image is a PNG in an Image widget, which follows a slider several times faster than a figure in an Output widget.
Without a kernel (on GitHub, in the HTML report), an image of the panel's first state is shown instead.
"""

import asyncio
import base64
import html
import inspect
import io
import os
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import ClassVar

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from adnlib.errors import AdnError
from adnlib.panels.pictures import encode, png, sentence, titles
from adnlib.panels.widgets import Arrival, Frame
from adnlib.plots import mark_weights

# Hidden while the panel is live. In a notebook that is opened again, it is what is left of the panel.
STILL = """<figure class="adn-still" data-panel="{panel}" style="margin: 0">
<style>
.adn-still figcaption {{ display: none }} .jp-Notebook .adn-still figcaption {{ display: block }}
.jp-OutputArea-child:has(.adn-still) + .jp-OutputArea-child:not(:has(.adn-panel)) .jupyter-widgets {{ display: none }}
</style>
<img src="data:image/png;base64,{image}" alt="{alt}" style="max-width: 100%">
<figcaption>This is an image of the panel. Execute the cell for the panel itself.</figcaption></figure>"""


class Panel(ipywidgets.VBox):
    """Rows of controls above images that functions draw from the values of the controls.

    draw: one or several functions, one per image. Each returns a figure or PNG bytes. Its arguments are named after the
    controls that it depends on, and it runs when one of them changes.
    weights: if AlexNet's weights are not ImageNet's, each image states it.
    words: a function like those in `draw` that returns HTML for the text below the images.
    tries: buttons for the tasks that the notebook sets: each name with a method that sets the controls.
    controls: widgets with a `value`, by the names that `draw` and `words` use.

    An error is shown instead of the images. Except at the start, where another choice may still be drawn, it is also
    raised, for the tests. Each message of a slider is drawn immediately: during a fast drag, ipywidgets merges the
    messages that arrive while an image is drawn and keeps the last position.
    """

    def __init__(
        self,
        draw: Callable[..., Figure | bytes] | Sequence[Callable[..., Figure | bytes]],
        weights: str = "imagenet",
        words: Callable[..., str] | None = None,
        tries: dict[str, Callable[[], None]] | None = None,
        **controls: ipywidgets.Widget,
    ):
        self.draws = [draw] if callable(draw) else list(draw)
        self.weights, self.words, self.controls, self.warning = weights, words, controls, ""
        self.message, self.text = ipywidgets.HTML(), ipywidgets.HTML()
        self.images = [ipywidgets.Image(format="png") for _ in self.draws]
        self.text.add_class("adn-words")
        self.frame = Frame(alts=[""] * len(self.draws), kind=type(self).__name__)
        self._drawn, self._held = {}, False
        self.guides = {name: self._button(name, act) for name, act in (tries or {}).items()}
        self.tries = row(*self.guides.values(), kind="tries")
        for name, control in controls.items():
            control.add_class(f"adn-{name}")
            if hasattr(control, "description"):
                control.tooltip = control.tooltip or control.description
                control.style.description_width = "initial"
            control.observe(self._changed, names="value")
        super().__init__([self.frame, *self.rows()])
        self.add_class("adn-panel")
        self.add_class(f"adn-{type(self).__name__.lower()}")
        with suppress(AdnError):
            self._changed(None)

    def _button(self, name: str, act: Callable[[], None]) -> ipywidgets.Button:
        button = ipywidgets.Button(description=f"Try: {name}", layout={"width": "auto"})
        button.on_click(lambda _: act())
        return button

    def rows(self) -> list[ipywidgets.Widget]:
        """The rows of the panel, from top to bottom: controls, message, images, text."""
        return [row(*self.controls.values(), kind="controls"), self.message, row(*self.images), self.text]

    def follow(self, name: str | None) -> None:
        """Updates other controls after control `name` has changed (None: at the start). Subclasses override it."""

    @property
    def values(self) -> dict:
        return {name: control.value for name, control in self.controls.items()}

    def _changed(self, change) -> None:
        if self._held:
            return
        self.frame.busy = True
        with self.in_words():
            with self.held():
                owner = change and next(name for name, control in self.controls.items() if control is change["owner"])
                self.follow(owner)
            self.redraw()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Changes of controls inside the block draw nothing."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """An error inside the block is shown in the panel and raised again."""
        try:
            yield
            self.message.value = ""
            self.remove_class("adn-failed")
        except Exception as error:
            self.add_class("adn-failed")
            self.message.value = f'<p role="alert"><b>This cannot be drawn.</b> {html.escape(in_words(error))}</p>'
            raise
        finally:
            self.frame.busy = False

    def redraw(self) -> None:
        """Draws the images and the text whose values have changed."""
        for image, draw in zip(self.images, self.draws, strict=True):
            if (picture := self._new(draw)) is not None:
                place = self.images.index(image)
                alts = [*self.frame.alts[:place], described(draw, picture), *self.frame.alts[place + 1 :]]
                self.frame.alts = alts
                if isinstance(picture, Figure):
                    self.warning = mark_weights(picture, self.weights)
                    picture = png(picture, cut=bool(self.warning))
                image.value = picture
                image.layout.display = None if picture else "none"
        if self.words and (text := self._new(self.words)) is not None:
            self.text.value = text

    def _new(self, function: Callable):
        """The result of `function` for the current values; None if they are the same as last time."""
        values = {name: value for name, value in self.values.items() if name in takes(function)}
        if self._drawn.get(function) == values:
            return None
        self._drawn.pop(function, None)
        made = function(**values)
        self._drawn[function] = values
        return made

    def still(self) -> bytes:
        """All images in one PNG, one below the other."""
        if self.message.value:
            return png(sentence(html.unescape(re.sub("<[^>]+>", "", self.message.value))))
        pictures = [Image.open(io.BytesIO(image.value)).convert("RGB") for image in self.images if image.value]
        whole = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)), "white")
        top = 0
        for picture in pictures:
            whole.paste(picture, (0, top))
            top += picture.height
        return encode(np.asarray(whole))


class Work(ipywidgets.Button):
    """A button that stops long work. The panel shows the progress.

    `run` executes the steps of a generator. In a kernel, other messages are processed between two steps. Without an
    event loop, as in a test, all steps run at once.
    """

    def __init__(self):
        super().__init__(description="Stop", tooltip="Stop this work and keep its results so far", disabled=True)
        self.add_class("adn-stop")
        self.on_click(lambda _: self.stop())
        self.current = None

    def stop(self) -> None:
        self.current, self.disabled = None, True

    def run(self, steps: Iterator) -> None:
        """Runs the steps, instead of those that were running."""
        self.current, self.disabled = steps, False
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            while self._step(steps):
                pass
        else:
            self.task = loop.create_task(self._run(steps))  # keeps a reference, or the task would be garbage-collected

    async def _run(self, steps: Iterator) -> None:
        while self._step(steps):
            await asyncio.sleep(0.001)

    def _step(self, steps: Iterator) -> bool:
        """Runs one step, unless there is none left or the work was stopped. Returns whether to continue."""
        if self.current is not steps:
            return False
        try:
            next(steps)
        except StopIteration:
            self.stop()
        return self.current is steps


def described(draw: Callable, picture: Figure | bytes) -> str:
    """The alternative text of an image: the first sentence on its drawing function, and the titles of a figure."""
    sentence = (inspect.getdoc(draw) or "").partition("\n\n")[0].replace("\n", " ")
    words = titles(picture) if isinstance(picture, Figure) else getattr(picture, "words", "")
    return f"{sentence} {words}".strip()


def in_words(error: Exception) -> str:
    return str(error) if isinstance(error, AdnError) else f"{type(error).__name__}: {error}"


def takes(function: Callable) -> set[str]:
    """The names of a function's arguments."""
    return set() if isinstance(function, partial) else set(inspect.signature(function).parameters)


def row(*widgets: ipywidgets.Widget, kind: str = "pictures") -> ipywidgets.Box:
    """Widgets side by side, with line breaks where the row is full."""
    box = ipywidgets.HBox(widgets, layout={"flex_flow": "row wrap", "align_items": "flex-start"})
    box.add_class(f"adn-{kind}")
    return box


def panel_of(kind: Callable[..., Panel], *arguments) -> "Panel | Later":
    """`kind(*arguments)`, or a panel with the error message if it cannot be made; on Voila's page, made later."""
    if "VOILA_PREHEAT" in os.environ:
        return Later(partial(_made, kind, *arguments), first=not arguments)
    return _made(kind, *arguments)


def _made(kind: Callable[..., Panel], *arguments) -> Panel:
    try:
        return kind(*arguments)
    except (AdnError, OSError) as error:
        return _failed(error)


def _failed(error: Exception) -> Panel:
    panel = Panel([])
    panel.message.value = f'<p role="alert">{html.escape(in_words(error))}</p>'
    return panel


class Later(ipywidgets.VBox):
    """A panel that is made when its page is there: the page does not wait for its panels.

    They are made one after another, those that need no run first, and messages are processed between two of them. Not
    before the page says that it shows a placeholder: it could miss what is made while it connects, and a page that is
    never shown costs nothing.
    """

    queue: ClassVar[list["Later"]] = []
    task: ClassVar[asyncio.Task | None] = None

    def __init__(self, make: Callable[[], Panel], first: bool):
        self.make, self.alt, arrival = make, "", Arrival()
        arrival.observe(lambda _: self.begin(), "shown")
        wait = ipywidgets.HTML('<p class="adn-wait" role="status">This panel is being prepared.</p>')
        super().__init__([wait, arrival])
        self.queue.insert(0 if first else len(self.queue), self)

    @classmethod
    def begin(cls) -> None:
        if cls.task is None or cls.task.done():
            cls.task = asyncio.get_running_loop().create_task(cls.make_all())

    @classmethod
    async def make_all(cls) -> None:
        while cls.queue:
            await asyncio.sleep(0.05)  # messages first
            later = cls.queue.pop(0)
            try:
                panel = later.make()
            except Exception as error:  # a defect of ours: the other panels must appear
                traceback.print_exc()
                panel = _failed(error)
            panel.frame.alt = later.alt
            later.children = [panel]


def show_panel(panel: Panel | Later, alt: str) -> None:
    """Displays a panel, with an image of its first state and the text `alt` for readers without a kernel."""
    if isinstance(panel, Later):
        panel.alt = alt
        display(panel)
        return
    panel.frame.alt, panel.frame.panel = alt, panel.model_id
    image, words = base64.b64encode(panel.still()).decode(), f"{alt} {panel.warning}".strip()
    still = STILL.format(panel=panel.model_id, image=image, alt=html.escape(words))
    display({"text/html": still, "image/png": image}, raw=True, metadata={"image/png": {"alt": words}})
    view = {kind: data for kind, data in panel._repr_mimebundle_().items() if "widget-view" in kind}
    display(view, raw=True)  # no words: without a kernel, they would be shown below the image
