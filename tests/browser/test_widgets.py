"""The widgets of our own on an empty page, without a kernel: what the browser alone does."""

import json

import numpy as np
import pytest

from adnlib.panels.pictures import encode
from adnlib.panels.widgets import Easel, Frame, Thumbnails

# A model as anywidget gives one: values by name, and those who listen to a change.
MODEL = """
class Model {
  constructor(values) { this.values = values; this.listening = {}; }
  get(name) { return this.values[name]; }
  set(name, value) { this.values[name] = value; for (const call of this.listening[`change:${name}`] ?? []) call(); }
  on(names, call) { for (const name of names.split(" ")) (this.listening[name] ??= []).push(call); }
  save_changes() {}
}
"""


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    yield page
    page.close()


def in_script(value) -> str:
    return f"new Uint8Array({list(value)})" if isinstance(value, bytes) else json.dumps(value)


def put(page, widget, values: dict) -> None:
    """Shows a widget, whose model is then `model` on the page."""
    module = widget._esm.replace("export default", "const widget =")
    given = ", ".join(f"{name}: {in_script(value)}" for name, value in values.items())
    page.set_content(f"<!doctype html><style>{Frame._css}</style><body></body>")
    page.evaluate(
        f"() => {{ {MODEL} {module}\nglobalThis.model = new Model({{ {given} }});"
        "const el = document.body.appendChild(document.createElement('div'));"
        "widget.render({ model, el }); }"
    )


def test_a_stroke_is_where_the_mouse_is_whatever_the_image_size(page):
    brush = {"size": 0.1, "colour": "#ff0000", "blur": 0, "opacity": 1}
    black = encode(np.zeros((8, 8, 3), np.uint8))
    put(page, Easel, {"size": 256, "brush": brush, "value": [], "label": "easel", "picture": black})
    canvas = page.locator("canvas")
    for size in (256, 448):
        page.evaluate(f"model.set('size', {size})")
        box = canvas.bounding_box()
        page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.75 * box["height"])
        page.mouse.down()
        page.mouse.up()
        assert page.evaluate("model.get('value').at(-1)") == {
            **brush,
            "points": [pytest.approx([0.25, 0.75], abs=0.01)],
        }
        red = page.evaluate(
            """() => { const canvas = document.querySelector('canvas'), side = canvas.width;
            const at = (x, y) => canvas.getContext('2d').getImageData(x * side, y * side, 1, 1).data[0];
            return [side, at(0.25, 0.75), at(0.29, 0.75), at(0.31, 0.75)]; }"""
        )
        assert red == [size, 255, 255, 0]


def test_any_thumbnail_can_be_chosen_where_none_is(page):
    strip = encode(np.zeros((56, 3 * 56, 3), np.uint8))
    put(page, Thumbnails, {"sheet": strip, "names": ["a", "b", "c"], "value": -1, "near": 1, "label": "strip"})
    chosen = page.locator("[aria-selected=true]")
    assert chosen.count() == 0
    page.locator("[role=option]").nth(1).click()
    assert page.evaluate("[model.get('value'), model.get('near')]") == [1, 1] and chosen.count() == 1
    page.evaluate("model.set('value', -1)")
    page.locator("[role=listbox]").press("ArrowRight")  # from the nearest
    assert page.evaluate("[model.get('value'), model.get('near')]") == [2, 2]
