"""The widgets of our own on an empty page, without a kernel: what the browser alone does."""

import json

import numpy as np
import pytest

from adnlib.panels.instruments import Chart, Dial, Dots, Drop
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


def test_the_easel_speaks_its_pen_and_takes_strokes_back(page):
    brush = {"size": 0.1, "colour": "#ff0000", "blur": 0, "opacity": 0.5}
    black = encode(np.zeros((8, 8, 3), np.uint8))
    values = {"size": 256, "brush": brush, "value": [], "judged": 0, "at": [0.5, 0.5], "label": "easel"}
    put(page, Easel, {**values, "picture": black})
    canvas, status = page.get_by_role("application", name="easel"), page.get_by_role("status")
    canvas.press(" ")
    assert status.inner_text() == "Pen down at 50 % across, 50 % down"
    red = "document.querySelector('canvas').getContext('2d').getImageData(128, 128, 1, 1).data[0]"
    assert page.evaluate(red) == pytest.approx(128, abs=3)  # shown while the pen is down, with its opacity
    canvas.press("ArrowRight")
    assert status.inner_text() == "53 % across, 50 % down"
    canvas.press(" ")
    assert status.inner_text() == "Pen up, judging …" and page.locator("[aria-busy=true]").count() == 1
    assert page.evaluate("[model.get('value').length, model.get('at')[0]]") == [1, 0.53125]
    page.evaluate("model.set('judged', 1)")
    assert status.inner_text() == "Pen up, judged" and page.locator("[aria-busy]").count() == 0
    canvas.press("Control+z")
    assert page.evaluate("model.get('value').length") == 0 and status.inner_text() == "Stroke taken back, judging …"
    canvas.press("Control+Shift+z")
    assert page.evaluate("model.get('value').length") == 1
    for _ in range(2):
        canvas.press("Control+z")
    assert status.inner_text() == "There is no stroke to take back"


def test_the_dial_speaks_a_sentence_instead_of_its_number(page):
    put(page, Dial, {"value": 1, "max": 3, "words": "1.2: 3 of 4 images", "label": "threshold", "tip": "steps"})
    slider = page.get_by_role("slider", name="threshold")
    assert slider.get_attribute("aria-valuetext") == "1.2: 3 of 4 images"
    slider.press("ArrowRight")
    assert page.evaluate("model.get('value')") == 2
    page.evaluate("model.set('words', '1.4: 2 of 4 images')")
    assert slider.get_attribute("aria-valuetext") == page.locator("output").inner_text() == "1.4: 2 of 4 images"


def test_a_chart_reports_where_it_is_dragged(page):
    put(page, Chart, {"value": encode(np.zeros((100, 200, 3), np.uint8)), "at": [0.5, 0.5], "label": "chart"})
    page.wait_for_function("document.querySelector('img').naturalWidth == 200")
    box = page.locator("img").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    assert page.evaluate("model.get('at')") == [0.5, 0.5]  # no button is down
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 25)
    assert page.evaluate("model.get('at')") == pytest.approx([0.75, 0.25], abs=0.01)
    page.mouse.move(box["x"] + 900, box["y"] - 50)
    page.mouse.up()
    assert page.evaluate("model.get('at')") == [1, 0]


def test_a_file_too_large_for_a_message_is_refused_in_words(page):
    put(page, Drop, {"value": b"", "label": "picture"})
    file = page.locator("input")
    file.set_input_files({"name": "big.png", "mimeType": "image/png", "buffer": b"0" * 8_000_001})
    page.get_by_text("larger than 8 MB").wait_for()
    assert page.evaluate("model.get('value').byteLength") == 0
    file.set_input_files({"name": "small.png", "mimeType": "image/png", "buffer": b"123"})
    page.get_by_text("small.png").wait_for()
    assert page.evaluate("model.get('value').byteLength") == 3


def test_the_points_of_a_map_are_reached_from_left_to_right(page):
    points = [[0.9, 0.5, 1], [0.1, 0.5, 0], [0.5, 0.5, 0]]
    texts = {"names": ["right", "left", "middle"], "colours": ["#00f", "#fa0"], "label": "map", "picture": b""}
    put(page, Dots, {"points": points, "behind": [[0.2, 0.2]], "value": 1, "hover": 1, **texts})
    box = page.get_by_role("listbox", name="map")
    for name in ("middle", "right", "right"):
        box.press("ArrowRight")
        assert page.locator("p").inner_text() == name
    box.press("Enter")
    assert page.evaluate("model.get('value')") == 0
    assert page.locator("[aria-selected=true]").get_attribute("aria-label") == "right"
    page.locator("[role=option]").nth(2).click()
    assert page.evaluate("[model.get('value'), model.get('hover')]") == [2, 2]
