"""How soon an image follows its control in a real browser: 50 moves each, on the page that `make app` serves.

    .venv/bin/python benchmarks/panels.py [FOLDER_OF_RUNS]

A move starts with a key press on a control and ends when the browser has decoded the new image. "cached": only the
image is computed. "model": scores and maps of images that are new to the model are computed, too. The runs are those of
`make run` (preset fast, 256 px) unless a folder is given.
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
from driving import FLAGS, Page, find_chromium, serve

MOVES = 50
# panel, control, the key that resets it, the key of a move, index of the image, cached or model, limit in ms
CASES = [
    ("scoreexplorer", "cut", "Home", "ArrowRight", 2, "cached", 60),
    ("scoreexplorer", "rank", "Home", "ArrowRight", 0, "model", 400),
    ("scoreexplorer", "rank", "Home", "ArrowRight", 0, "cached", 60),
    ("painter", "angle", "Home", "ArrowRight", 0, "model", 400),
    ("gateexplorer", "image", "Home", "ArrowRight", 1, "model", 400),
]
MEASURE = """async ({panel, control, key, picture, moves}) => {
  const root = document.querySelector(`.adn-${panel}`), image = root.querySelectorAll('img')[picture];
  const handle = root.querySelector(`.adn-${control} :is([role=slider], input[type=range])`), times = [];
  for (let move = 0; move < moves; move++) {
    const start = performance.now();
    const shown = new Promise((done, fail) => {
      image.addEventListener('load', done, {once: true});
      setTimeout(() => fail(new Error(`${control} changed nothing in move ${move}`)), 20000) });
    if (handle.stepUp) {  // no event of a script moves a native slider
      handle.stepUp();
      handle.dispatchEvent(new Event('input'));
    } else handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
    await shown;
    times.push(performance.now() - start);
  }
  return times }"""

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
            for panel, control, start, key, picture, kind, limit in CASES:
                page.control(panel, control).locator("[role=slider], input[type=range]").first.press(start)
                page.settled(panel, 1)
                parameters = dict(panel=panel, control=control, key=key, picture=picture, moves=MOVES)
                times = page.page.evaluate(MEASURE, parameters)
                high = statistics.quantiles(times, n=20)[-1]
                rows.append((panel, control, kind, statistics.median(times), high, limit))
            page.page.locator(".adn-painter canvas").scroll_into_view_if_needed()
            times = page.page.evaluate(STROKES, MOVES)
            high = statistics.quantiles(times, n=20)[-1]
            rows.append(("painter", "stroke to all verdicts", "model", statistics.median(times), high, 250))
            page.page.close()
        browser.close()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}, Chromium {browser.version}\n"
    )
    print("| panel | control | what | median (ms) | 95 % within (ms) | limit (ms) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for panel, control, kind, median, high, limit in rows:
        print(f"| {panel} | {control} | {kind} | {median:.0f} | {high:.0f} | {limit} |")


if __name__ == "__main__":
    main()
