"""The live page of the site in a real Chromium: it computes what adnlib computes, on this machine alone.

The models are trained here in seconds and know nothing; benchmarks/live_page.py measures those of the built site.
"""

import contextlib
import io
import json
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import Page
from PIL import Image
from torch import nn

from adnlib import presets
from adnlib.attention.controls import ConstantGate
from adnlib.features import PLACEMENTS
from adnlib.flow import nll
from adnlib.inspection.scoring import model_input
from adnlib.inspection.strokes import painted
from adnlib.lessons.normalizing_flows import couple
from adnlib.system.folders import ROOT
from adnlib.views import View

pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install '.[site]'")
import live_models
import make_site
import npm_packages

pytestmark = pytest.mark.slow
COUNT = 30  # images
NAMES = [f"{name}-000" for name in ("bend", "corrosion", "crack", "foreign_object", "missing_piece")]
NAMES += ["good-000", "good-001", "good-002"]
KINDS = {  # of live/state.js
    "scratch": {"soft": 0.006, "opacity": 1, "colour": [216, 216, 216]},
    "stain": {"soft": 0.06, "opacity": 0.7, "colour": [107, 68, 35]},
    "hole": {"soft": 0.004, "opacity": 1, "colour": [0, 0, 0]},
    "eraser": {"soft": 0.004, "opacity": 1, "colour": None},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three small runs with two test views."""
    for name in npm_packages.PACKAGES:
        if not npm_packages.archive(name).exists():
            pytest.skip(f"{name} is not here: .venv/bin/python site/npm_packages.py fetches it")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "smoke", replace(presets.SMOKE, test_views=2))
        root = tmp_path_factory.mktemp("runs")
        return live_models.live_runs(root, f"folder:{ROOT / 'data' / 'sample'}", "bracket_wild", "smoke")


@pytest.fixture(scope="module")
def address(runs, tmp_path_factory):
    """The address of a static server with the live page and the live figures, without the book."""
    root = tmp_path_factory.mktemp("site")
    live_models.export_live(runs, root / "models")
    (root / "site").mkdir()
    make_site.write_first_page(root / "site", root / "models", "this test")
    (root / "site" / "figures").symlink_to(ROOT / "site" / "figures")
    handler = partial(SimpleHTTPRequestHandler, directory=str(root / "site"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()


class LivePage(Page):
    """The page, driven by its address."""

    def __init__(self, browser, address: str):
        super().__init__(browser, "live")
        self.page.goto(address)
        kept = "['models', 'images'].every(name => document.body.dataset[name] == 'kept') && live.shown() !== null"
        self.wait_until(lambda: self.page.evaluate(kept), "models and images are loaded")
        self.scores()

    def scores(self) -> list[float]:
        """The scores of both sides, once they are those of the present state."""
        script = """() => document.body.dataset.ready == 2 && live.complete() ?
            live.sides.map(side => side.value) : null"""
        self.wait_until(lambda: self.page.evaluate(script), "both scores are computed")
        return self.page.evaluate(script)

    def open(self, state: str) -> list[float]:
        """The scores of a state, given as in the address."""
        if self.page.evaluate("location.hash") != f"#{state}":
            before = self.page.evaluate("live.number()")
            self.page.evaluate("state => { location.hash = state }", state)
            self.wait_until(lambda: self.page.evaluate("live.number()") > before, "the state is new")
        return self.scores()


@pytest.fixture(scope="module")
def live(browser, address):
    page = LivePage(browser, address)
    page.page.context.set_offline(True)  # everything below works without a network
    yield page
    assert page.elsewhere == page.complaints == []
    page.page.close()


def random_state(rng: np.random.Generator) -> tuple[str, list[dict], float, float]:
    """Strokes, angle and brightness, also as text of the address; some images stay as they are."""
    strokes, texts = [], []
    for _ in range(rng.integers(0, 4)):
        kind = str(rng.choice(list(KINDS)))
        size, points = rng.integers(5, 150), rng.integers(0, 1001, (rng.integers(1, 5), 2))
        texts.append(",".join([kind, str(size), *map(str, points.flatten())]))
        strokes.append({**KINDS[kind], "size": size / 1000, "points": (points / 1000).tolist()})
    angle, brightness = int(rng.choice([0, 0, 15, -40, 90])), float(rng.choice([1, 1, 0.7, 1.25]))
    return f"angle={angle}&brightness={brightness}&strokes={';'.join(texts)}", strokes, angle, brightness


def expected(run, image: torch.Tensor, strokes: list[dict], angle: float, brightness: float) -> float:
    """adnlib's score in float32 of an image (3, S, S) that is painted and moved."""
    return run.model().anomaly_score(View(angle, brightness=brightness)(painted(image, strokes)[None])).item()


def test_thirty_images_have_the_scores_of_adnlib(live, runs, tmp_path):
    rng, rows = np.random.default_rng(0), []
    for number in range(COUNT):
        text, strokes, angle, brightness = random_state(rng)
        name = NAMES[number % len(NAMES)]
        path = ROOT / "data" / "sample" / "bracket_wild" / "test" / name.split("-")[0] / f"{name.split('-')[1]}.jpg"
        if number % 6 == 5:  # a file of another size, with transparent pixels
            size = (int(rng.integers(40, 600)), int(rng.integers(40, 600)))
            path, picture = tmp_path / f"{number}.png", Image.open(path).resize(size).convert("RGBA")
            picture.putpixel((0, 0), (255, 0, 0, 0))
            picture.save(path)
            live.open(f"image={name}")  # not moved
            live.page.set_input_files("#file", path)
            live.wait_until(lambda path=path: path.name in live.page.inner_text("#own"), "the file is read")
            found, strokes, angle, brightness = live.scores(), [], 0, 1
        else:
            found = live.open(f"image={name}&{text}")
        image = model_input(path, 256)
        wanted = [expected(runs[side], image, strokes, angle, brightness) for side in ("plain", "se")]
        rows.append((found, wanted))
    found, wanted = np.array(rows).transpose(1, 0, 2)
    np.testing.assert_allclose(found, wanted, rtol=1e-3)
    assert (found.argsort(axis=0) == wanted.argsort(axis=0)).all()


def test_a_constant_gate_and_the_third_variant(live, runs):
    image = model_input(ROOT / "data" / "sample" / "bracket_wild" / "test" / "good" / "000.jpg", 256)
    found = live.open("image=good-000&left=cbam&right=plain&gate=0.6")
    for score, name in zip(found, ("cbam", "plain"), strict=True):
        model = runs[name].model()
        for layer, channels in PLACEMENTS["figure"].items():
            model.features.attention[str(layer)] = ConstantGate(channels, 0.6)
        assert score == pytest.approx(model.anomaly_score(image[None]).item(), rel=1e-3)
    assert live.open("image=good-000&left=cbam&right=plain") != pytest.approx(found, rel=1e-3)


def test_a_link_opens_the_same_in_another_profile(live, browser, address):
    live.open("image=crack-000&left=cbam&strokes=hole,60,300,300,500,400;scratch,15,100,900&angle=15&gate=0.7&rate=0.2")
    live.page.click("#link")
    show = "[live.sides.map(side => [side.value, side.box.innerText]), [...live.shown().data].join()]"
    # browser.new_page makes a profile of its own
    other = LivePage(browser, address + live.page.evaluate("location.hash"))
    assert json.dumps(other.page.evaluate(show)) == json.dumps(live.page.evaluate(show))
    other.page.close()


def test_the_python_lines_give_the_same_numbers(live, runs):
    live.open("image=crack-000&strokes=hole,60,300,300,500,400;stain,90,200,700&angle=-20&brightness=1.2&gate=0.8")
    live.page.click("#code")
    codes = live.page.locator("#python pre").all_text_contents()
    live.page.click("#code")
    for code, score, name in zip(codes, live.scores(), ("plain", "se"), strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code.replace("runs/site/" + runs[name].folder.name, str(runs[name].folder)), {})
        assert float(printed.getvalue().split()[0]) == pytest.approx(score, rel=1e-3)


def test_the_keyboard_paints_and_the_result_is_announced(live):
    live.open("image=good-001")
    before = live.scores()
    live.page.focus("#easel")
    for key in ("Space", "ArrowLeft", "ArrowUp", "Space"):
        live.page.keyboard.press(key)
    assert len(live.page.evaluate("live.state().strokes")) == 1
    assert live.scores() != before
    live.wait_until(lambda: "score" in live.page.inner_text("#spoken"), "the scores are announced")
    live.page.click("#undo")
    assert live.scores() == before


def test_axe_finds_no_serious_violation(live):
    live.page.evaluate(npm_packages.content("axe-core", "axe.min.js").decode() + "; 0")
    for scheme in ("light", "dark"):
        live.page.emulate_media(color_scheme=scheme)
        violations = live.page.evaluate("axe.run().then(result => result.violations)")
        assert [v["id"] for v in violations if v["impact"] in ("serious", "critical")] == []


def test_the_flow_of_the_live_figure_trains_like_torch(live, address):
    """Loss, gradients, batches and optimiser: after ten steps of the lesson's training, in float64."""
    torch.manual_seed(0)
    layers = [(1, 8), (8, 8), (8, 2)]
    subnets = [nn.Sequential(*[x for a, b in layers for x in (nn.Linear(a, b), nn.ReLU())][:-1]) for _ in range(4)]
    subnets = [subnet.double() for subnet in subnets]
    points = torch.randn(300, 2).double()
    parameters = [x for subnet in subnets for x in subnet.parameters()]
    weights = torch.cat([x.detach().flatten() for x in parameters]).tolist()

    def loss(y):
        log_det = torch.zeros(len(y))
        for first, second in zip(subnets[::2], subnets[1::2], strict=True):
            y, more = couple(y.flip(1), first, second, 3.0)
            log_det = log_det + more
        return nll(y, log_det).mean()

    optimizer, steps = torch.optim.Adam(parameters, lr=3e-3), 20
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator, wanted = torch.Generator().manual_seed(0), [loss(points).item()]
    for _ in range(10):
        value = loss(points[torch.randint(300, (256,), generator=generator)])
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step(), schedule.step()
    wanted.append(loss(points).item())
    live.page.context.set_offline(False)
    found = live.page.evaluate(
        """async ([address, weights, points]) => {
        const { Flow, Training, columns } = await import(address);
        const flow = new Flow(weights, { blocks: 2, hidden: 8, clamp: 3 });
        const y = columns(points), training = new Training(flow, y, 20, 0), found = [flow.nll(y)];
        for (let step = 0; step < 10; step++) training.next();
        return [...found, flow.nll(y)] }""",
        [address.replace("index.html", "figures/flow.js"), weights, points.flatten().tolist()],
    )
    assert found == pytest.approx(wanted, abs=1e-5)


def test_a_file_that_is_no_image_is_refused(live, tmp_path):
    path: Path = tmp_path / "notes.png"
    path.write_text("not an image")
    live.page.set_input_files("#file", path)
    live.wait_until(lambda: "notes.png cannot be read" in live.page.inner_text("#own"), "the file is refused")
