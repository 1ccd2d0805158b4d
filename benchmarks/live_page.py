"""The live page of the built site in Chromium: sizes, agreement with adnlib, and how long a visitor waits.

    make book && make site && .venv/bin/python benchmarks/live_page.py

Serves build/site on this machine and opens its first page. The agreement is measured on test images of the page's
category, most of them painted, rotated or relit at random. The first score is timed from the moment when both models
are loaded, a stroke from the end of the stroke until both sides show the score of one view, and of all views. Both
sides compute at the same time, each on one thread, so the times need two idle cores; the CPU time does not.
"""

import argparse
import json
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import psutil
import torch
from playwright.sync_api import sync_playwright

from adnlib.experiments.runs import read_run
from adnlib.inspection.scoring import model_input
from adnlib.system.folders import ROOT

sys.path.insert(0, str(ROOT / "site"))
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from driving import FLAGS, find_chromium
from test_live_page import LivePage, expected, random_state

STROKES = 5
WATCH = """() => { window.times = []; const side = live.sides[0].constructor.prototype, show = side.show;
    side.show = function () { show.call(this); if (this.value !== null) times.push([this.name, this.progress,
    performance.now()]) } }"""


def served(folder: Path) -> str:
    """The address of a static server for a folder."""
    SimpleHTTPRequestHandler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/index.html"


def sizes(site: Path) -> dict[str, float]:
    """MB of what the page loads before the models, and of the models with their engine."""
    live, models = site / "live", site / "live" / "models"
    engine = [*(live / "ort").glob("*.gz"), *models.glob("*.gz")]
    first = json.loads((models / "models.json").read_text())["images"][0]["name"]
    page = [site / "index.html", *live.glob("*.*"), *(live / "ort").glob("*.mjs"), models / "models.json"]
    page += [*models.glob("*-small.jpg"), models / f"{first}.png"]
    return {name: sum(p.stat().st_size for p in paths) / 1e6 for name, paths in (("page", page), ("models", engine))}


def first_score(browser, address: str) -> float:
    """Seconds from both models being loaded to both scores of all views."""
    page = browser.new_context().new_page()
    page.add_init_script(
        """addEventListener('DOMContentLoaded', () => { const look = () => { if (document.body.dataset.ready == 2)
        window.loaded ??= performance.now(); if (window.live?.complete()) window.scored ??= performance.now();
        if (!window.scored) setTimeout(look, 5) }; look() })"""
    )
    page.goto(address)
    while not page.evaluate("window.scored"):
        time.sleep(0.1)
    seconds = page.evaluate("(scored - loaded) / 1000")
    page.context.close()
    return seconds


def cpu_seconds() -> float:
    """CPU time of the browser so far: of all processes below this one."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(t.user + t.system for t in times)


def stroke_times(live: LivePage) -> np.ndarray:
    """Milliseconds from the end of a stroke to both scores of one view and of all views: (STROKES, 2)."""
    live.page.evaluate(WATCH)
    box, rows = live.page.locator("#easel").bounding_box(), []
    for number in range(STROKES):
        live.page.evaluate("times.length = 0")
        x, y = box["x"] + 60 + 30 * number, box["y"] + 100
        live.page.mouse.move(x, y)
        live.page.mouse.down()
        live.page.mouse.move(x + 20, y + 20, steps=4)
        live.page.evaluate(
            "easel = document.getElementById('easel'), easel.addEventListener('pointerup', () => "
            "{ window.ended = performance.now() }, {capture: true, once: true})"
        )
        live.page.mouse.up()
        live.scores()
        times, ended = live.page.evaluate("[times, ended]")
        last = max(progress for _, progress, _ in times)
        rows.append([max(t for _, progress, t in times if progress == k) - ended for k in (1, last)])
    return np.array(rows)


def agreement(live: LivePage, count: int) -> tuple[float, bool]:
    """The largest relative difference of scores, and whether both sides rank the images as adnlib does."""
    about = live.page.evaluate("live.about")
    runs = {name: read_run(ROOT / "runs" / "site" / about["variants"][name]["run"]) for name in ("plain", "se")}
    samples = {sample.path.as_posix(): sample for sample in runs["plain"].dataset().test}
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        text, strokes, angle, brightness = random_state(rng)
        image = about["images"][number % len(about["images"])]
        path = next(path for path in samples if path.endswith(image["path"]))
        found = live.open(f"image={image['name']}&{text}")
        pixels = model_input(Path(path), about["size"])
        rows.append((found, [expected(run, pixels, strokes, angle, brightness) for run in runs.values()]))
    found, wanted = np.array(rows).transpose(1, 0, 2)
    same = bool((found.argsort(axis=0) == wanted.argsort(axis=0)).all())
    return float(np.abs(found / wanted - 1).max()), same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--images", type=int, default=30)
    arguments = parser.parse_args()
    size = sizes(arguments.site)
    print(f"page {size['page']:.2f} MB before the models; models and engine {size['models']:.1f} MB")
    address = served(arguments.site)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        live = LivePage(browser, address)
        live.page.context.set_offline(True)
        largest, same = agreement(live, arguments.images)
        ranks = "equal" if same else "different"
        print(f"{arguments.images} images: largest relative difference of a score {largest:.1e}; ranks {ranks}")
        print(f"requests elsewhere: {len(live.elsewhere)}; console errors: {len(live.complaints)}")
        before = cpu_seconds()
        one, all_views = np.median(stroke_times(live), axis=0)
        views = STROKES * sum(len(side) for side in live.page.evaluate("live.sides.map(side => side.about.views)"))
        print(f"a stroke to both scores: {one:.0f} ms with one view, {all_views:.0f} ms with all (median of {STROKES})")
        print(f"CPU time of the browser per view: {1000 * (cpu_seconds() - before) / views:.0f} ms")
        print(f"first score of all views: {first_score(browser, address):.2f} s after both models are loaded")
        product = torch.randn(1024, 1024)
        start = time.perf_counter()
        for _ in range(10):
            product @ product
        print(f"a 1024 x 1024 float32 product takes {100 * (time.perf_counter() - start):.1f} ms in torch, one thread")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
