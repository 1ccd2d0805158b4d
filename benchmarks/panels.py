"""How soon a panel follows each of its controls in a real browser, on the page that `make app` serves.

    .venv/bin/python benchmarks/panels.py [FOLDER_OF_RUNS]

A move starts with a key press, a click or a choice, and ends when the panel has drawn everything and the browser has
decoded the images. "first": the value is new to this page. "again": it has been shown before. "drag": 40 key presses,
16 ms apart, and how long after the last one the panel has drawn its value. The runs are those of `make run` (preset
fast, 256 px) unless a folder is given.
"""

import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from adnlib.system.folders import ROOT

sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the same servers and the same page as in the tests
from driving import CONTROLS, FLAGS, Page, find_chromium, serve

MOVES = 40
DRAGS = 8
LIMITS = {"first": 250, "again": 60, "drag": 300}  # ms
ALWAYS = {("painter", name) for name in ("image", "angle", "brightness")}  # the model judges an image in every move
BRUSH = {"kind", "size", "colour", "blur", "opacity"}  # they change only the next stroke
MOVING = """
  const root = document.querySelector(`.adn-${panel}`), place = root.querySelector(`.adn-${control}`);
  const part = place.querySelector('[role=slider], input[type=range], select, input') ?? place;
  const buttons = [...place.querySelectorAll('button')];
  let way = 1, done = null;
  new MutationObserver(() => { if (!root.classList.contains('adn-busy')) done?.(performance.now()) })
    .observe(root, {attributeFilter: ['class'], attributeOldValue: true});
  const tell = (kind) => part.dispatchEvent(new Event(kind, {bubbles: true}));
  const at = () => part.getAttribute('aria-valuenow') ??
    (buttons.length ? buttons.findIndex(b => b.getAttribute('aria-pressed') === 'true') : part.value);
  function move() {
    if (part.matches('[role=slider]')) {
      if (Number(part.getAttribute('aria-valuenow')) >= Number(part.getAttribute('aria-valuemax'))) way = -1;
      if (Number(part.getAttribute('aria-valuenow')) <= Number(part.getAttribute('aria-valuemin'))) way = 1;
      const key = way > 0 ? 'ArrowRight' : 'ArrowLeft';
      part.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
    } else if (part.matches('input[type=range]')) {  // no event of a script moves a native slider
      if (Number(part.value) >= Number(part.max)) way = -1;
      if (Number(part.value) <= Number(part.min)) way = 1;
      way > 0 ? part.stepUp() : part.stepDown();
      tell('input');
    } else if (part.matches('select')) {
      part.selectedIndex = (part.selectedIndex + 1) % part.options.length;
      tell('change');
    } else if (part.matches('input[type=checkbox]')) part.click();
    else if (buttons.length) {
      const pressed = buttons.findIndex(b => b.getAttribute('aria-pressed') === 'true');
      buttons[(pressed + 1) % buttons.length].click();
    } else {
      part.value = (Number(part.value) * 1.01 + 0.01).toFixed(4);
      tell('change');
    }
  }
  const drawn = (seconds) => new Promise((end, fail) => {
    done = end;
    setTimeout(() => fail(new Error(`${panel}.${control} drew nothing`)), 1000 * seconds) });
  const decoded = () => Promise.all([...root.querySelectorAll('.adn-pictures img')].filter(
    i => i.src && getComputedStyle(i).display !== 'none').map(i => i.decode().catch(() => null)));  // null: replaced
  const pause = (ms) => new Promise(end => setTimeout(end, ms));
"""
MOVE = (
    "async ({panel, control, moves}) => {"
    + MOVING
    + """
  if (part.matches('select') && part.options.length < 2) return [];
  const seen = new Set([String(at())]), times = [];
  for (let each = 0; each < moves; each++) {
    const start = performance.now(), shown = drawn(20);
    move();
    await shown;
    await decoded();
    const ms = performance.now() - start;
    await pause(30);
    times.push([seen.has(String(at())) ? 'again' : 'first', ms]);
    seen.add(String(at()));
  }
  return times }"""
)
DRAG = (
    "async ({panel, control, moves}) => {"
    + MOVING
    + """
  const times = [];
  for (let each = 0; each < moves; each++) {
    let last = 0, end = 0;
    done = (now) => { end = now };
    for (let step = 0; step < 40; step++) { move(); last = performance.now(); await pause(16); }
    do { await pause(200) } while (root.classList.contains('adn-busy') || performance.now() - end < 400);
    times.push(Math.max(0, end - last));
  }
  return times }"""
)

STROKES = """async moves => {
  const root = document.querySelector('.adn-painter'), canvas = root.querySelector('canvas'), times = [];
  const easel = canvas.closest('.adn-easel');
  for (let move = 0; move < moves; move++) {
    const box = canvas.getBoundingClientRect();
    const at = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, {pointerId: 1, buttons: 1, bubbles: true,
      clientX: box.left + x, clientY: box.top + 20 + 4 * move}));
    canvas.setPointerCapture = () => {};
    at('pointerdown', 40); at('pointermove', 80); at('pointermove', 120);
    const start = performance.now();
    at('pointerup', 120);
    while (easel.hasAttribute('aria-busy') && performance.now() < start + 20000) {
      await new Promise(f => setTimeout(f, 2));
    }
    times.push(performance.now() - start);
    await new Promise(f => setTimeout(f, 1500));
  }
  return times }"""


def main() -> None:
    runs = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "runs").resolve()
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as p:
        root = Path(folder)
        (root / "notebooks").mkdir()
        shutil.copy(ROOT / "notebooks" / "10_explore.ipynb", root / "notebooks")
        (root / "runs").symlink_to(runs)
        browser = p.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        options = ["10_explore.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", "--template=explore"]
        for address in serve("voila", options, root):
            page = Page(browser, "voila")
            page.page.goto(address, timeout=120_000)
            page.wait_for_panels()
            for panel, control in cases():
                page.settled(panel, 1)
                parameters = dict(panel=panel, control=control, moves=MOVES)
                moves = page.page.evaluate(MOVE, parameters)
                for kind in ("first", "again"):
                    limit = LIMITS["first" if (panel, control) in ALWAYS else kind]
                    rows += row(panel, control, kind, [ms for which, ms in moves if which == kind], limit)
                if page.control(panel, control).locator("[role=slider], input[type=range]").count():
                    times = page.page.evaluate(DRAG, {**parameters, "moves": DRAGS})
                    rows += row(panel, control, "drag", times, LIMITS["drag"])
            page.page.locator(".adn-painter canvas").scroll_into_view_if_needed()
            times = page.page.evaluate(STROKES, MOVES)
            rows += row("painter", "stroke to all verdicts", "first", times, LIMITS["first"])
            page.page.close()
        browser.close()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}, Chromium {browser.version}\n"
    )
    print("| panel | control | move | moves | median (ms) | 95 % within (ms) | limit of the median (ms) |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for panel, control, kind, count, median, high, limit in rows:
        over = " exceeded" * (median > limit)
        print(f"| {panel} | {control} | {kind} | {count} | {median:.0f} | {high:.0f} | {limit}{over} |")


def cases() -> list[tuple[str, str]]:
    """Panel and name of every control that changes what a panel shows."""
    found = [(panel, name) for panel, controls in CONTROLS.items() for name in controls]
    hidden = {("scoreexplorer", "thumb"), ("scoreexplorer", "plane")}  # the strip chooses a rank; the map has a test
    return [(p, name) for p, name in found if (p, name) not in hidden and not (p == "painter" and name in BRUSH)]


def row(panel: str, control: str, kind: str, times: list[float], limit: int) -> list[tuple]:
    """A row of the table, or none if there were no such moves."""
    if len(times) < 2:
        return [(panel, control, kind, len(times), times[0], times[0], limit)] if times else []
    return [(panel, control, kind, len(times), statistics.median(times), statistics.quantiles(times, n=20)[-1], limit)]


if __name__ == "__main__":
    main()
