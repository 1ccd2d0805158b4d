"""Every panel in JupyterLab and in Voila: each control by keyboard and by mouse, painting, dragging, both themes."""

import math
import re

import pytest
from driving import CONTROLS

EVERYTHING = [(panel, name, effect) for panel, all_of in CONTROLS.items() for name, effect in all_of.items()]


@pytest.fixture(params=["lab", "voila"])
def shown(request):
    return request.getfixturevalue(request.param)


def own_value(control) -> str:
    return control.evaluate(
        """c => JSON.stringify([...c.querySelectorAll('[role=slider], select, input, button')].map(e =>
        [e.getAttribute('aria-valuenow'), e.value, e.checked, e.classList.contains('mod-active')]))"""
    )


def act(page, control, mouse: bool) -> None:
    """Moves a control, whatever it is, with the mouse or with the keyboard."""
    if (handle := control.locator("[role=slider]").first).count():
        now, low, high = (float(handle.get_attribute(f"aria-value{which}")) for which in ("now", "min", "max"))
        if mouse:
            box, grip = control.locator(".noUi-base, .noUi-target").first.bounding_box(), handle.bounding_box()
            share = 0.2 if now > (low + high) / 2 else 0.8
            middle = grip["y"] + grip["height"] / 2
            page.mouse.move(grip["x"] + grip["width"] / 2, middle)  # dragged: between two handles a click does nothing
            page.mouse.down()
            page.mouse.move(box["x"] + share * box["width"], middle, steps=5)
            page.mouse.up()
        else:
            handle.focus()
            page.keyboard.press("Home" if now >= (low + high) / 2 else "End")
    elif (slider := control.locator("input[type=range]")).count():
        now, high = (float(slider.evaluate(f"s => s.{which}")) for which in ("value", "max"))
        if mouse:
            slider.click(position={"x": (0.2 if now > high / 2 else 0.8) * slider.bounding_box()["width"], "y": 5})
        else:
            slider.press("Home" if now > high / 2 else "End")
    elif (select := control.locator("select")).count():
        at, count = select.evaluate("s => [s.selectedIndex, s.options.length]")
        step = 1 if at + 1 < count else -1
        if not mouse:
            select.focus()
            page.keyboard.press("ArrowDown" if step > 0 else "ArrowUp")
        elif select.get_attribute("size"):
            select.locator("option").nth(at + step).click()
        else:  # its list is the system's, which no page can click
            select.select_option(index=at + step)
    elif (thumbs := control.locator("[role=listbox]")).count():
        if mouse:
            control.locator("[role=option][aria-selected=false]").first.click()
        else:
            thumbs.focus()
            page.keyboard.press("ArrowRight")
    elif (buttons := control.locator("button:not(.mod-active)")).count():
        if mouse:
            buttons.first.click()
        else:
            buttons.first.focus()
            page.keyboard.press("Enter")
    elif (box := control.locator("input[type=checkbox]")).count():
        if mouse:
            box.click()
        else:
            box.focus()
            page.keyboard.press(" ")
    else:
        field = control.locator("input").first
        field.click() if mouse else field.focus()
        page.keyboard.press("Control+a")
        texts = {"color": ("#00ff00", "#0000ff"), "number": ("1.02", "1.4")}
        page.keyboard.type(texts.get(field.get_attribute("type"), ("tiny", "se"))[not mouse])
        page.keyboard.press("Enter")


@pytest.mark.parametrize("mouse", [False, True], ids=["keyboard", "mouse"])
@pytest.mark.parametrize("panel, name, effect", EVERYTHING, ids=[f"{panel}-{name}" for panel, name, _ in EVERYTHING])
def test_every_control_moves(shown, panel, name, effect, mouse):
    control = shown.control(panel, name)
    control.scroll_into_view_if_needed()
    before, select = own_value(control), control.locator("select")
    at = select.evaluate("s => s.selectedIndex") if select.count() else 0
    if effect == "own":
        act(shown.page, control, mouse)
        shown.page.wait_for_timeout(200)
        assert own_value(control) != before
    else:
        shown.changes(panel, lambda: act(shown.page, control, mouse))
    if select.count():  # back, so that the next finds what it needs
        shown.settled(panel, 0.3)
        shown.changes(panel, lambda: select.select_option(index=at))
        shown.settled(panel, 0.3)  # a choice may bring others, which must not overtake the next move


def verdicts(shown) -> list[str]:
    """The rows of the painter's table, one for each variant."""
    return shown.page.locator(".adn-painter .adn-verdicts tr").all_inner_texts()[1:]


def test_a_painted_stroke_changes_the_verdicts(shown):
    page, easel = shown.page, shown.control("painter", "strokes")
    canvas, status = easel.locator("canvas"), easel.locator("[role=status]")
    pixels = "c => c.toDataURL()"

    def all_differ(others):
        return lambda: all(now != other for now, other in zip(verdicts(shown), others, strict=True))

    page.locator(".adn-painter .adn-kind button", has_text="hole").click()
    canvas.scroll_into_view_if_needed()
    shown.settled("painter", 1)
    clean, blank = verdicts(shown), canvas.evaluate(pixels)
    assert len(clean) == 3
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    for step in range(12):
        page.mouse.move(box["x"] + 60 + 12 * step, box["y"] + 60 + 8 * step)
    assert canvas.evaluate(pixels) != blank, "the stroke is shown while the pen is down"
    assert verdicts(shown) == clean
    page.mouse.up()
    assert "judg" in status.inner_text()
    shown.wait_until(all_differ(clean), "a stroke by mouse changes all verdicts")
    shown.wait_until(lambda: status.inner_text() == "Stroke, judged", "the easel says that it is judged")
    assert easel.locator("[aria-busy]").count() == 0
    painted = verdicts(shown)

    canvas.focus()  # the same by keyboard: pen down, along, up
    page.keyboard.press(" ")
    assert "Pen down at" in status.inner_text()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    assert "% across" in status.inner_text()
    page.keyboard.press(" ")
    shown.wait_until(all_differ(painted), "a stroke by keyboard changes all verdicts")
    twice = verdicts(shown)

    page.keyboard.press("Control+z")
    shown.wait_until(lambda: verdicts(shown) == painted, "the undo key brings the verdicts back")
    page.keyboard.press("Control+Shift+z")
    shown.wait_until(lambda: verdicts(shown) == twice, "and the redo key the stroke")
    shown.control("painter", "undo").click()
    shown.wait_until(lambda: verdicts(shown) == painted, "undo does the same")
    with page.expect_download() as download:
        shown.control("painter", "save").click()
    assert download.value.suggested_filename == "painted.png"
    shown.control("painter", "clear").click()
    shown.wait_until(lambda: verdicts(shown) == clean, "clear brings the first verdicts back")


def test_the_limit_is_found_for_every_variant(shown):
    panel = shown.page.locator(".adn-painter")
    canvas = shown.control("painter", "strokes").locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    canvas.click(position={"x": 0.25 * box["width"], "y": 0.75 * box["height"]})
    shown.control("painter", "clear").click()
    shown.settled("painter", 0.3)
    clear = canvas.evaluate("c => c.toDataURL()")
    shown.control("painter", "limit").click()
    shown.wait_until(lambda: "Dots at 25 % across, 75 % down (cross)" in panel.inner_text(), "the sweep ends")
    words = panel.inner_text()
    for name in ("DifferNet", "SE, frozen", "CBAM, frozen"):
        assert re.search(rf"(^|; ){name}(; [^:]*)?: (opaque|not even|the image)", words, re.MULTILINE), name
    assert canvas.evaluate("c => c.toDataURL()") != clear  # the cross
    shown.settled("painter", 0.3)


DROP = """([selector, kind, bytes]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array(bytes)], "own.png", { type: "image/png" }));
  const event = kind == "drop"
    ? new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true })
    : new ClipboardEvent("paste", { clipboardData: given, bubbles: true });
  document.querySelector(selector).dispatchEvent(event);
}"""


@pytest.mark.parametrize("panel", ["painter", "scoreexplorer"])
@pytest.mark.parametrize("way", ["file", "drop", "paste"])
def test_an_own_picture_is_chosen_dropped_or_pasted(shown, project, panel, way):
    zone, path = shown.control(panel, "own"), project / "data" / "tiny" / "test" / "spot" / "000.png"
    before = shown.settled(panel, 0.5)
    if way == "file":
        zone.locator("input").set_input_files(path)
    else:
        shown.page.evaluate(DROP, [f".adn-{panel} .adn-own label", way, list(path.read_bytes())])
    shown.moves_on(panel, before)
    shown.settled(panel, 0.5)
    assert zone.locator("[role=status]").inner_text() in ("000.png", "own.png")
    name = {"painter": "image", "scoreexplorer": "rank"}[panel]
    handle = shown.control(panel, name).locator("[role=slider]").first
    shown.changes(
        panel, lambda: handle.press("ArrowLeft" if float(handle.get_attribute("aria-valuenow")) > 1 else "End")
    )
    shown.wait_until(lambda: zone.locator("[role=status]").inner_text() == "", "another image replaces the picture")


def test_a_point_of_the_map_shows_its_image_and_chooses_it(shown):
    box, dots = (shown.control("scoreexplorer", name) for name in ("plane", "map"))
    if not box.locator("input").is_checked():
        box.locator("input").click()
    shown.wait_until(lambda: dots.locator("[role=option]").count() == 8, "there is a point for each test image")
    picture = dots.locator("[role=img]")
    before = picture.get_attribute("style")
    dots.locator("[role=option][aria-selected=false]").first.hover(force=True)
    shown.wait_until(lambda: picture.get_attribute("style") != before, "hovering shows an image")
    chosen = dots.locator("[aria-selected=true]").get_attribute("id")
    dots.locator("svg").press("End" if dots.locator("[role=option]").last.get_attribute("id") != chosen else "Home")
    shown.changes("scoreexplorer", lambda: dots.locator("svg").press("Enter"))
    assert dots.locator("[aria-selected=true]").count() == 1


def test_a_point_of_the_plane_is_dragged_through_the_blocks(shown):
    chart = shown.page.locator(".adn-flowplayground .adn-chart img")
    chart.scroll_into_view_if_needed()
    before, box = shown.settled("flowplayground", 0.5), chart.bounding_box()
    shown.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"], steps=6)
    shown.page.mouse.up()
    shown.moves_on("flowplayground", before)


def test_the_threshold_is_dragged_in_the_histogram_and_on_the_roc_curve_and_spoken(shown):
    page, dial = shown.page, shown.control("scoreexplorer", "cut").locator("input")
    for chart in shown.page.locator(".adn-scoreexplorer .adn-chart img").all():
        chart.scroll_into_view_if_needed()
        shown.settled("scoreexplorer")
        before, box = dial.get_attribute("aria-valuetext"), chart.bounding_box()
        for share in (0.25, 0.7):
            page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
            page.mouse.down()
            page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"], steps=8)
            page.mouse.up()
            shown.wait_until(
                lambda before=before: dial.get_attribute("aria-valuetext") != before, "dragging moves the threshold"
            )
            before = dial.get_attribute("aria-valuetext")
            assert "normal images are false alarms" in before


@pytest.mark.parametrize("panel, name", [("gateexplorer", "value")])
def test_a_fast_drag_leaves_the_picture_of_the_last_position(shown, panel, name):
    page, handle = shown.page, shown.control(panel, name).locator("[role=slider]").first
    handle.scroll_into_view_if_needed()
    handle.press("Home")
    shown.settled(panel)
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(40):
        page.mouse.move(x + 60 * (1 - math.cos(step / 3)), y)
    page.mouse.up()
    shown.settled(panel, 1.5)
    left = shown.pixels(panel)
    handle.press("ArrowRight")
    shown.wait_until(lambda: shown.pixels(panel) != left, "a step further has another picture")
    handle.press("ArrowLeft")
    shown.wait_until(lambda: shown.pixels(panel) == left, "the picture after the drag is that of the last position")


def test_training_is_live_and_can_be_stopped(shown):
    panel = "flowplayground"

    def trained() -> float:  # percent
        bar = shown.control(panel, "steps").locator(".progress-bar")
        return bar.evaluate("b => parseFloat(b.style.width)")

    shown.control(panel, "blocks").locator("[role=slider]").first.press("End")  # the longest training
    shown.settled(panel)
    shown.control(panel, "train").click()
    shown.wait_until(lambda: 0 < trained() < 100, "the training has begun")
    shown.moves_on(panel, shown.state(panel))  # not `changes`: on a fast machine the pictures never pause
    stop = shown.control(panel, "stop")
    stop.click()
    shown.wait_until(stop.is_disabled, "the training has stopped")
    assert 0 < trained() < 100


def test_every_control_has_a_name_and_a_tooltip(shown):
    nameless = shown.page.evaluate(
        """() => [...document.querySelectorAll('.adn-panel :is([role=slider], select, input, button, canvas,'
        + ' [role=listbox])')].filter(e => e.offsetParent).filter(e => {
        const name = e.getAttribute('aria-label') || e.closest('label')?.innerText || '';
        return !name.trim() || !e.closest('[title]:not([title=""])') }).map(e => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    assert shown.page.evaluate("[...document.querySelectorAll('.adn-panel img')].every(i => i.alt)")


def test_both_themes_and_a_narrow_window(shown):
    """Screenshots are kept to be looked at; nothing may stick out to the right."""
    for theme in ("light", "dark"):
        shown.choose_theme(theme)
        for width in (1024, 640, 512):  # 640: a window of 1280 px at a zoom of 200 %
            shown.page.set_viewport_size({"width": width, "height": 8000})  # all in sight, for the pictures
            for panel in CONTROLS:
                shown.settled(panel, 0.1)
            shown.screenshot(f"{theme}-{width}")
            wide = shown.page.evaluate(
                """() => [...document.querySelectorAll('.adn-panel')].filter(p => [...p.querySelectorAll('img, select,'
                + ' canvas, button, .adn-thumbnails')].some(e => e.offsetParent && e.getBoundingClientRect().right >
                p.getBoundingClientRect().right + 1)).map(p => p.className)"""
            )
            assert wide == []
            unreached = shown.page.evaluate(
                """() => [...document.querySelectorAll('.adn-panel table')].filter(t => t.offsetParent).filter(t => {
                const box = t.closest('.widget-html-content');
                return getComputedStyle(t).overflowWrap != 'normal' || (t.offsetWidth > box.clientWidth + 1 &&
                (getComputedStyle(box).overflowX != 'auto' || box.tabIndex != 0)) }).map(t => t.className)"""
            )
            assert unreached == []  # words are whole, and a wide table can be scrolled, also by keyboard
        shown.page.set_viewport_size({"width": 1024, "height": 900})


def test_nothing_is_asked_elsewhere_and_nothing_complains(shown):
    """The last test: what all others above left behind."""
    assert shown.elsewhere == []
    assert shown.complaints == []
    assert shown.page.locator(".adn-panel [role=alert]").all_inner_texts() == []
    assert shown.page.locator(".jupyter-widgets-error-widget").count() == 0
