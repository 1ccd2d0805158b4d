"""The panels without a browser: pure functions against references, controls through `.value`, errors raised."""

import asyncio
import io
import json
import re
import shutil
from contextlib import ExitStack
from unittest.mock import Mock

import ipywidgets
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

import adnlib
from adnlib import AdnError
from adnlib.experiments.ledger import facts_digest
from adnlib.panels import gate_explorer, score_explorer, view_explorer
from adnlib.panels.gate_explorer import GateExplorer, chosen, forced
from adnlib.panels.instruments import Dial
from adnlib.panels.loaded_run import by_category, category_names, load_run, overlay
from adnlib.panels.painter import Painter
from adnlib.panels.panel import Later, Panel, Work, panel_of
from adnlib.panels.pictures import Plate, encode, png, sheet
from adnlib.panels.run_browser import ANY, RunBrowser, filtered, notebook_page
from adnlib.panels.score_explorer import ScoreExplorer
from adnlib.panels.score_pictures import place_of, ranks_picture
from adnlib.panels.server import NoDelay
from adnlib.panels.thresholds import plain
from adnlib.panels.variants import most_disputed
from adnlib.panels.view_explorer import ViewExplorer, agreement, enough, views_of
from adnlib.system.files import sha256
from adnlib.system.folders import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    """Smoke runs of three variants, and one that failed."""
    root = tmp_path_factory.mktemp("runs")
    for attention in (None, "se", "cbam"):
        adnlib.train_run(
            root, adnlib.RunConfig(f"folder:{tiny_folder}", "tiny", attention, preset="smoke", device="cpu")
        )
    (root / "broken.failed").mkdir()
    (root / "broken.failed" / "error.txt").write_text("It was stopped.")
    return root


@pytest.fixture(scope="module")
def attending(runs):
    return next(
        str(run.folder) for run in adnlib.experiments.runs.read_runs(runs) if run.parameters["attention"] == "se"
    )


def change_facts(run: adnlib.experiments.runs.Run, **changes: dict) -> None:
    """Writes other values into tables of a run's facts, and the digests that belong to its files as they are now."""
    facts = run.facts | {table: run.facts[table] | values for table, values in changes.items()}
    facts["digests"] = {name: sha256(run.folder / name) for name in facts["digests"]}
    (run.folder / "parameters.json").write_text(json.dumps(facts | {"digest": facts_digest(facts)}))


def size_of(bytes_: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(bytes_)).size


def shown(panel: Panel) -> tuple:
    return (*(image.value for image in panel.images), panel.text.value)


# --- the machinery ---


def line(height: float):
    figure = sheet(2, 1, (0.2, 0.2, 1.6, 0.7))
    figure.axes[0].plot([0, height])
    return figure


def test_only_what_takes_a_changed_value_is_drawn_again():
    drawn = []

    def first(a):
        drawn.append("first")
        return line(a)

    def second(b):
        drawn.append("second")
        return line(b)

    panel = Panel([first, second], a=ipywidgets.IntSlider(1), b=ipywidgets.IntSlider(1))
    panel.controls["b"].value = 2
    assert drawn == ["first", "second", "second"]
    assert all(size_of(image.value) == (200, 100) for image in panel.images)
    assert size_of(panel.still()) == (200, 200)


@pytest.mark.parametrize(
    "error, words", [(AdnError("Train <one> first."), "Train &lt;one&gt; first."), (ValueError("no"), "ValueError: no")]
)
def test_an_error_is_shown_in_words_and_raised(error, words):
    def draw(a):
        if a == 2:
            raise error
        return line(a)

    panel = Panel(draw, a=ipywidgets.IntSlider(1))
    before = panel.images[0].value
    with pytest.raises(type(error)):
        panel.controls["a"].value = 2
    assert words in panel.message.value and 'role="alert"' in panel.message.value
    panel.controls["a"].value = 3
    assert panel.message.value == "" and panel.images[0].value != before


def test_a_plate_draws_what_the_whole_figure_shows():
    figure = line(1)
    figure.axes[0].set(xlim=(0, 1), ylim=(0, 1))
    (mark,) = figure.axes[0].plot([0.2], [0.5], "o", color="black")
    plate = Plate(figure, mark)
    mark.set_data([0.8], [0.5])
    moved_mark = np.asarray(Image.open(io.BytesIO(plate.png())))
    whole = line(1)
    whole.axes[0].set(xlim=(0, 1), ylim=(0, 1))
    whole.axes[0].plot([0.8], [0.5], "o", color="black")
    expected = np.asarray(Image.open(io.BytesIO(png(whole))).convert("RGB"))
    assert (moved_mark == expected).all()


def test_work_goes_to_its_end_and_can_be_stopped_between_two_steps():
    work, seen = Work(), []

    def steps():
        for step in range(10):
            seen.append(step)
            yield

    work.run(steps())
    assert seen == list(range(10)) and work.disabled

    async def stopped():
        seen.clear()
        work.run(steps())
        while len(seen) < 3:
            await asyncio.sleep(0)
        work.click()
        await asyncio.sleep(0.05)

    asyncio.run(stopped())
    assert 3 <= len(seen) < 10 and work.disabled


@pytest.mark.parametrize("kind", [ScoreExplorer, Painter, GateExplorer, ViewExplorer, RunBrowser])
def test_a_panel_without_runs_says_what_to_run(kind, tmp_path):
    with pytest.raises(AdnError, match="make run"):
        kind(tmp_path)
    panel = panel_of(kind, tmp_path)
    assert "make run" in panel.message.value and size_of(panel.still())[0] > 400


def test_gate_explorer_without_attention_says_so(tiny_folder, tmp_path):
    adnlib.train_run(tmp_path, adnlib.RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", device="cpu"))
    with pytest.raises(AdnError, match="no run with SE or CBAM"):
        GateExplorer(tmp_path)


def test_data_that_changed_is_named(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder, tmp_path / "data")
    adnlib.train_run(tmp_path / "runs", adnlib.RunConfig(f"folder:{tmp_path / 'data'}", "tiny", preset="smoke"))
    (tmp_path / "data" / "tiny" / "test" / "good" / "000.png").unlink()
    assert "was trained with other images" in ScoreExplorer(tmp_path / "runs").message.value


def damage_weights(folder):
    (folder / "model.safetensors").unlink()


def damage_facts(folder):
    path = folder / "parameters.json"
    path.write_text(path.read_text()[:200])


def damage_end_of_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("damage", [damage_weights, damage_facts, damage_end_of_weights])
def test_a_damaged_run_is_a_marked_row_and_the_panels_show_the_others(runs, tmp_path, damage):
    root = shutil.copytree(runs, tmp_path / "runs")
    first, *_ = adnlib.experiments.runs.read_runs(root)
    damage(first.folder)
    browser = RunBrowser(root)
    browser.controls["run"].value = first.folder.name
    assert browser.message.value == ""
    if damage is not damage_end_of_weights:  # whose digest is compared when it is loaded
        assert 'class="adn-bad">damaged' in browser.text.value
    for kind, image in ((ViewExplorer, "image"), (GateExplorer, "image"), (ScoreExplorer, "rank")):
        panel = panel_of(kind, root)
        c = panel.controls
        if panel.message.value:
            assert "damaged" in panel.message.value and "adn-failed" in panel._dom_classes
            assert size_of(panel.still())[0] > 400
        c["run"].value = c["run"].options[-1][1]
        c[image].value = c[image].min + (c[image].value == c[image].min)
        assert panel.message.value == "" and "adn-failed" not in panel._dom_classes


def test_images_are_marked_as_old_while_new_ones_are_drawn_and_described_as_drawn():
    marks = []

    def draw(a):
        """The height of a line.

        More on it.
        """
        marks.append(panel.frame.busy if a > 1 else None)
        figure = line(a)
        figure.axes[0].set_title(f"height {a}")
        return figure

    panel = Panel(draw, a=ipywidgets.IntSlider(1))
    assert panel.frame.alts == ["The height of a line. height 1"]
    panel.controls["a"].value = 2
    assert marks == [None, True] and not panel.frame.busy
    assert panel.frame.alts == ["The height of a line. height 2"]


def test_an_error_takes_the_stale_pictures_away():
    def draw(a):
        if a == 2:
            raise AdnError("Not this one.")
        return line(a)

    panel = Panel(draw, a=ipywidgets.IntSlider(2))
    assert "Not this one" in panel.message.value and "adn-failed" in panel._dom_classes
    panel.controls["a"].value = 1
    assert panel.message.value == "" and "adn-failed" not in panel._dom_classes


def test_a_pages_panels_are_made_when_it_is_there_and_one_that_fails_stops_no_other(runs, monkeypatch):
    monkeypatch.setenv("VOILA_PREHEAT", "True")
    made = []

    def broken(root):
        made.append("broken")
        raise ZeroDivisionError

    def good(root=None):
        made.append("good" if root else "without runs")
        return Panel(lambda a: line(a), a=ipywidgets.IntSlider(1))

    async def page():
        waiting = [panel_of(broken, runs), panel_of(good, runs), panel_of(good)]
        await asyncio.sleep(0.2)
        assert made == []
        waiting[0].children[1].shown = True
        await Later.task
        return [later.children[0].message.value for later in waiting]

    first, *others = asyncio.run(page())
    assert made == ["without runs", "broken", "good"]
    assert "ZeroDivisionError" in first and others == ["", ""]


def test_the_notebook_of_make_run_is_found_by_the_run_that_it_saved(runs, attending, tmp_path):
    name = attending.rsplit("/", 1)[-1]
    (tmp_path / "book").mkdir()
    for title, saved in (("07_train_none", "another"), ("07_train_se", name)):
        cell = new_code_cell("1", outputs=[new_output("stream", text=f"{saved}\n")])
        nbformat.write(
            new_notebook(cells=[new_markdown_cell(f"# {title}"), cell]), tmp_path / "book" / f"{title}.ipynb"
        )
    assert "07_train_se" in notebook_page(tmp_path / name)
    assert "no notebook" in notebook_page(tmp_path / "a run of a command")


# --- every control of every panel ---


def other(control):
    """A value that the control does not have."""
    if hasattr(control, "options"):
        values = [o[1] if isinstance(o, tuple) else o for o in control.options]
        return next(value for value in values if value != control.value)
    if isinstance(control, ipywidgets.Checkbox):
        return not control.value
    if isinstance(control, ipywidgets.Text):
        return "se"
    if isinstance(control, ipywidgets.IntRangeSlider):
        return (control.min, control.min + 3)
    if isinstance(control, (ipywidgets.FloatText, ipywidgets.BoundedFloatText)):
        return control.value * 1.5
    if isinstance(control, Dial):
        return (control.value + 1) % (control.max + 1)
    if hasattr(control, "min"):
        return control.min if control.value != control.min else control.max
    return (control.value + 1) % len(control.names)  # thumbnails


@pytest.mark.parametrize(
    "kind, names",
    [
        (ScoreExplorer, ["run", "compare", "rank", "thumb", "cut", "threshold"]),
        (Painter, ["image", "angle", "brightness"]),
        (GateExplorer, ["run", "image", "place", "force", "ranks", "value"]),
        (ViewExplorer, ["run", "image", "turns", "views"]),
        (RunBrowser, ["sort", "status", "run", "filter"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_control_changes_what_is_shown(kind, names, runs):
    panel = kind(runs)
    assert all(control.tooltip for control in panel.controls.values() if hasattr(control, "description"))
    for name in names:
        before = shown(panel)
        panel.controls[name].value = other(panel.controls[name])
        assert shown(panel) != before, f"{kind.__name__}: {name} changes nothing"
        assert panel.message.value == ""
    assert all(size_of(image.value) for image in panel.images if image.value)


# --- runs by category ---


def run_of(dataset: str, category: str | None) -> Mock:
    return Mock(parameters={"dataset": dataset, "category": category})


def test_data_sets_of_one_name_are_kept_apart():
    a, b, c, d = (run_of(f"folder:/{folder}", "screw") for folder in ("a/parts", "b/parts", "b/parts/", "b/parts2"))
    assert by_category([a, b, c, d]) == {"parts (a) · screw": [a], "parts (b) · screw": [b, c], "parts2 · screw": [d]}
    assert category_names([a, run_of("folder:/b/parts", "nut")]) == ["parts · screw", "parts · nut"]
    assert category_names([run_of("elpv", None), run_of("folder:/data/elpv", None)]) == ["elpv", "elpv (data)"]
    deep = [run_of(f"folder:/{folder}/x/parts", None) for folder in "ab"]
    assert category_names(deep) == ["parts (folder:/a/x/parts)", "parts (folder:/b/x/parts)"]


# --- score explorer ---


def test_another_run_keeps_the_image(runs):
    panel = ScoreExplorer(runs)
    c = panel.controls
    c["rank"].value = 2
    image = load_run(c["run"].value).order[1]
    c["run"].value = c["run"].options[1][1]
    assert load_run(c["run"].value).order[c["rank"].value - 1] == image
    assert c["threshold"].value == pytest.approx(load_run(c["run"].value).threshold, rel=1e-3)


def test_no_thumbnail_is_chosen_where_the_image_has_none(runs, monkeypatch):
    monkeypatch.setattr(score_explorer, "SHOWN", 3)
    panel = ScoreExplorer(runs)
    c, ranks = panel.controls, panel.ranks
    for rank in range(1, c["rank"].max + 1):
        c["rank"].value = rank
        assert (c["thumb"].value == -1) == (rank not in ranks)
        assert abs(ranks[c["thumb"].near] - rank) == min(abs(ranks - rank))
    assert len(ranks) < c["rank"].max
    c["thumb"].value = 0
    assert c["rank"].value == 1 and c["thumb"].near == 0
    c["thumb"].value = -1
    assert c["rank"].value == 1 and c["thumb"].value == 0  # an image is always shown


def test_the_strip_shows_the_most_disputed_images_first_and_a_button_chooses_them(runs, monkeypatch):
    monkeypatch.setattr(score_explorer, "SHOWN", 3)
    panel = ScoreExplorer(runs)
    c, order = panel.controls, most_disputed(panel.compared)
    assert len(panel.compared) == 3 and c["compare"].label == "its variants"
    c["sort"].value = "disagreement"
    assert [place_of(panel.shown, rank) for rank in panel.ranks] == list(order[:3])
    for place in order[:2]:
        press(panel, "models disagree most")
        assert place_of(panel.shown, c["rank"].value) == place
    assert c["thumb"].value == 1
    c["run"].value = c["run"].options[1][1]
    assert c["compare"].label == "its variants" and c["run"].value not in c["compare"].value
    c["compare"].label = "no other"
    assert panel.compared == [load_run(c["run"].value)]


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_threshold_follows_to_a_run_of_quite_other_scores(runs, tmp_path, factor):
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    last = adnlib.experiments.runs.read_runs(tmp_path)[-1]
    last.scores.assign(score=last.scores["score"] * factor).to_csv(last.folder / "scores.csv", index=False)
    threshold = last.facts["metrics"]["threshold"] * factor
    change_facts(last, metrics={"threshold": threshold})
    c = ScoreExplorer(tmp_path).controls
    for _ in range(2):  # there and back
        c["run"].value = c["run"].options[-1][1]
        assert c["threshold"].value == pytest.approx(threshold, rel=1e-3)
        c["run"].value = c["run"].options[0][1]


def test_an_infinite_score_has_a_place_in_the_picture(tiny_folder, tmp_path):
    run = adnlib.train_run(tmp_path, adnlib.RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", device="cpu"))
    table = pd.read_csv(run.folder / "scores.csv")
    table.loc[table.index[-1], "score"] = np.inf
    table.to_csv(run.folder / "scores.csv", index=False)
    change_facts(run)
    panel = ScoreExplorer(tmp_path)
    panel.controls["rank"].value = panel.controls["rank"].max
    assert panel.message.value == "" and "anomalous" in panel.text.value


def test_overlay_is_dark_where_the_map_is_zero_and_yellow_where_it_is_one():
    image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    pixels = overlay(image, heat)
    assert pixels.shape == (4, 4, 3) and pixels[0, 0, :2].min() > pixels[1, 1, :2].max()
    assert pixels[0, 0, 2] < pixels[0, 0, :2].min()  # yellow


# --- gates ---


def test_gates_forced_open_everywhere_are_no_attention(runs, attending):
    model = load_run(attending).model
    plain = adnlib.DifferNet(preset=model.preset)
    image = torch.randint(0, 255, (1, 3, 256, 256), dtype=torch.uint8)
    with torch.no_grad():
        before = model.features(image)
        with ExitStack() as undo:
            for place, channels in (("pool1", 64), ("pool2", 192), ("conv5", 256)):
                undo.enter_context(forced(model, place, range(channels), 1.0))
            torch.testing.assert_close(model.features(image), plain.features(image))
        assert model.features(image).equal(before)  # and it is as it was


def test_forcing_cbam_leaves_the_other_channels(runs):
    module = adnlib.DifferNet("cbam", preset="smoke")
    x = torch.rand(1, 256, 7, 7)
    cbam = module.features.attention["11"]
    free = cbam.channel(x)
    with forced(module, "conv5", [3], 0.25):
        gate = cbam.channel(x)
    assert gate[0, 3] == 0.25 and gate[0, 4:].equal(free[0, 4:]) and cbam.channel(x).equal(free)


@pytest.mark.parametrize("place, channels, match", [("conv4", [0], "conv4"), ("conv5", [256], "channels 0 to 255")])
def test_gates_that_do_not_exist(place, channels, match):
    model = adnlib.DifferNet("se", preset="smoke")
    image = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    with pytest.raises(AdnError, match=match), forced(model, place, channels, 0.0):
        model.features(image)
    model.features(image)  # nothing is left of it


# --- views ---


def test_agreement():
    assert (agreement(np.ones(8), 0.5) == 1).all()
    shares = agreement(np.array([0.0, 0.0, 0.0, 4.0]), 0.9)  # their mean is 1: one view in four says so
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1], abs=0.05) and shares[-1] == 1  # all views are all views


def test_the_number_of_views_that_is_enough_is_said_and_pale_views_are_explained(runs):
    panel = ViewExplorer(runs)
    c = panel.controls
    for views, drawn in ((1, "draws of a single view,"), (2, "draws of 2 views,")):
        c["views"].value = views
        assert drawn in panel.text.value and "Pale views are not in use" in panel.text.value
    (needed,) = re.findall(r"draws agree from (\d+) view", panel.text.value)
    loaded = load_run(c["run"].value)
    views = view_explorer.TURNS[c["turns"].value]
    scores = np.array([view_explorer.score_view(c["run"].value, c["image"].value - 1, view) for view in views])
    shares = agreement(scores, loaded.threshold)
    assert (shares[int(needed) - 1 :] >= 0.95).all() and (needed == "1" or shares[int(needed) - 2] < 0.95)
    c["views"].value = c["views"].max
    assert "Pale" not in panel.text.value


def test_views_are_scored_one_by_one_and_their_mean_is_the_runs_score(runs):
    panel = ViewExplorer(runs)
    c = panel.controls
    opened, count = load_run(c["run"].value), load_run(c["run"].value).run.facts["preset"]["test_views"]
    c["views"].value = count
    index = c["image"].value - 1
    from adnlib.panels.view_explorer import TURNS, score_view

    scores = [score_view(c["run"].value, index, view) for view in TURNS[c["turns"].value][:count]]
    close = 1e-3 if opened.run.facts["precision"] == "float32" else 1e-2  # the panel computes in float32
    assert np.mean(scores) == pytest.approx(opened.test["score"][index], rel=close)
    assert c["done"].value == c["done"].max and "of all (standard error)" in panel.text.value


def press(panel, words):
    """Clicks the button of a task."""
    panel.guides[words].click()
    assert panel.message.value == ""


def test_the_task_of_two_images_compares_the_gates_of_the_lowest_and_the_highest_score(runs):
    panel = GateExplorer(runs)
    c, before = panel.controls, panel.images[0].value
    press(panel, "two images")
    scores = load_run(c["run"].value).test["score"]
    assert (c["image"].value - 1, c["other"].value - 1) == (scores.argmax(), scores.argmin())
    assert panel.images[0].value != before and not c["force"].value


def test_the_task_of_one_half_forces_every_gate(runs, attending):
    panel = GateExplorer(runs)
    c = panel.controls
    c["run"].value = attending
    press(panel, "all gates at one half")
    loaded, index = load_run(attending), c["image"].value - 1
    channels = chosen(attending, index, c["place"].value, c["ranks"].value, c["force"].value)
    assert len(set(channels)) == sum(len(gate["channel"]) for gate in gate_explorer._gates(attending, index).values())
    half = adnlib.DifferNet("constant", preset=loaded.model.preset, value=0.5)
    image = loaded.image(index)[None]
    with torch.no_grad(), gate_explorer.forced_all(loaded.model, channels, 0.5):
        torch.testing.assert_close(loaded.model.features(image), half.features(image))


def test_the_effect_that_remains_is_measured_between_the_scores_with_and_without_the_module(runs):
    panel = GateExplorer(runs)
    c = panel.controls
    for run in c["run"].options:
        c["run"].value = run[1]
        loaded, index = load_run(run[1]), c["image"].value - 1
        image = loaded.image(index)[None]
        bare = adnlib.DifferNet(preset=loaded.model.preset).eval()
        state = loaded.model.own_state()
        bare.load_own_state({name: x for name, x in state.items() if "attention" not in name})
        none = gate_explorer.score_without(run[1], index, gate_explorer.EVERYWHERE)
        assert none == pytest.approx(bare.anomaly_score(image).item(), rel=1e-2)  # in another precision
        press(panel, "all gates at one half")
        own, forced_score = (
            gate_explorer.judge(run[1], index, channels, 0.5)[0]
            for channels in ((), chosen(run[1], index, c["place"].value, c["ranks"].value, True))
        )
        assert f"<td>{plain(none)}</td>" in panel.text.value and f"<td>{plain(forced_score)}</td>" in panel.text.value
        (share,) = re.findall(r"<p>(\S+) % of the effect on the score remains", panel.text.value)
        assert float(share) == pytest.approx(100 * np.log(forced_score / none) / np.log(own / none), rel=1e-2)
        assert loaded.model.anomaly_score(image).item() == pytest.approx(own, rel=1e-2)  # the module is back


def test_the_task_of_the_verdict_takes_a_normal_verdict_that_the_slider_flips(runs):
    panel = GateExplorer(runs)
    c = panel.controls
    press(panel, "flip a verdict")
    score = panel.loaded.test["score"]
    assert score[panel.place] == score[score <= panel.loaded.threshold].max() and c["force"].value
    found = set()
    for value in (0.5, 0.25, 0.0, 1.0):
        c["value"].value = value
        found.add("<b>flips</b>" in panel.text.value)
    assert True in found


def test_the_images_that_only_one_model_detects_are_counted_and_shown_one_after_another(runs, tmp_path):
    root = shutil.copytree(runs, tmp_path / "runs")
    first, second, third = adnlib.experiments.runs.read_runs(root)
    anomalous = np.flatnonzero(first.test["label"])
    for run, detected in ((first, anomalous[:1]), (second, anomalous[1:3]), (third, anomalous[2:3])):
        scores = run.scores.copy()
        score = np.full(len(run.test), 1.0) + 0.01 * np.arange(len(run.test))
        score[detected] = 3.0 + 0.01 * detected
        scores.loc[run.test.index, "score"] = score
        scores.to_csv(run.folder / "scores.csv", index=False)
        change_facts(run, metrics={"threshold": 2.0})
    panel = ScoreExplorer(root)
    button = panel.guides[score_explorer.ALONE]
    assert button.description == "Try: only one model detects it (2 images)" and not button.disabled
    seen = []
    for _ in range(3):
        press(panel, score_explorer.ALONE)
        seen.append(panel.place)
        assert re.search(r"Only .+ detects it, .* image [12] of 2 \(", panel.named.value)
    assert set(seen) == set(anomalous[:2]) and seen[0] == seen[2]
    panel.controls["compare"].label = "no other"
    assert button.description.endswith("(0 images)") and button.disabled


def test_every_panel_names_the_image_and_says_which_thumbnails_it_shows(runs):
    for kind in (ScoreExplorer, Painter, GateExplorer, ViewExplorer):
        panel = kind(runs)
        sample = panel.loaded.dataset.test[panel.place]
        assert sample.path.name in panel.named.value and ("anomalous" in panel.named.value) == bool(sample.label)
    panel = ScoreExplorer(runs)
    assert f"{len(panel.ranks)} of the {len(panel.loaded.order)} test images" in panel.which.value


def test_a_change_of_run_draws_the_rank_strips_with_its_own_threshold(runs):
    panel = ScoreExplorer(runs)
    c = panel.controls
    for _, run in (*c["run"].options[1:], c["run"].options[0]):
        c["run"].value = run
        drawn = panel.images[1].value
        threshold = load_run(run).threshold
        assert drawn == ranks_picture(run, c["compare"].value, c["rank"].value, threshold, b"")
        c["cut"].value = 0 if c["cut"].value else 1
        assert panel.images[1].value != drawn  # the line of the run follows the chosen threshold


def test_an_image_chosen_anywhere_is_chosen_everywhere_by_tasks_and_by_the_address(runs):
    views, gates = ViewExplorer(runs), GateExplorer(runs)
    assert views.place != gates.place  # each starts with its own
    scores = views.loaded.test["score"]
    ratio = np.abs(np.log(scores / views.loaded.threshold))
    press(views, "far from the threshold")
    assert views.place == gates.place == ratio.argmax()
    press(views, "nearest to the threshold")
    assert views.place == gates.place == ratio.argmin()
    press(gates, "the worst miss")
    lowest = gates.loaded.test[gates.loaded.test["label"] == 1]["score"].idxmin()
    assert views.place == gates.place == lowest
    press(views, "models disagree most")
    ranks = np.stack([run.test["score"].rank() for run in adnlib.experiments.runs.read_runs(runs)])
    spread = ranks.max(0) - ranks.min(0)
    assert spread[views.place] == spread.max() and gates.place == views.place
    names = list(views.loaded.test["image"])
    assert views.frame.image == names[views.place]
    other = (views.place + 1) % len(names)
    gates.frame.asked = names[other]
    assert views.place == gates.place == other
    assert ViewExplorer(runs).place == other  # also one that is made later


def test_score_explorer_and_painter_take_part_in_the_choice(runs):
    scores, painter, views = ScoreExplorer(runs), Painter(runs), ViewExplorer(runs)
    press(scores, "the worst miss")
    miss, painted = views.worst_miss(), painter.place
    assert scores.place == views.place == miss and painter.place == painted  # it paints on normal images only
    painter.controls["strokes"].value = [{**painter.controls["strokes"].brush, "points": [[0.5, 0.5]]}]
    assert views.place == miss  # a stroke chooses no image
    painter.controls["image"].value = painter.controls["image"].max
    assert painter.place == scores.place == views.place == painter.normal[-1]
    scores.controls["own"].value = encode(np.zeros((64, 64, 3), np.uint8))
    assert scores.remark.value
    views.show(int(painter.normal[0]))
    assert painter.place == painter.normal[0] != scores.place and scores.controls["own"].value  # kept
    scores.controls["run"].value = scores.controls["run"].options[1][1]
    assert views.place == painter.normal[0]


def test_what_is_said_on_the_views_is_true_of_each_choice(runs):
    c = ViewExplorer(runs).controls
    own = set(load_run(c["run"].value).model.preset.views("test"))
    for turns in c["turns"].options:
        shown = set(views_of(c["run"].value, turns))
        words = enough(c["run"].value, 1, turns, 1, 0)
        assert ("exactly these" in words) == (shown == own)
        assert ("None of the views" in words) == (not shown & own)
        assert (f"{len(shown & own)} of the {len(shown)} views here" in words) == bool(shown & own and shown != own)


# --- runs ---


def test_the_ledger_is_filtered_by_every_word_and_status(runs):
    ledger = adnlib.experiments.ledger.read_ledger(runs)
    assert set(filtered(ledger, "", ANY, "name")["run"]) == set(ledger["run"]) and len(ledger) == 4
    assert list(filtered(ledger, "FROZEN se", ANY, "name")["variant"]) == ["SE, frozen"]
    assert list(filtered(ledger, "", "failed", "name")["run"]) == ["broken"]
    best = filtered(ledger, "", "done", "AUROC, best first")["auroc"]
    assert best.is_monotonic_decreasing


def test_the_browser_names_a_run_without_notebook_and_shows_one_that_has(runs, attending):
    panel = RunBrowser(runs)
    name = attending.rsplit("/", 1)[-1]
    panel.controls["run"].value = name
    panel.controls["notebook"].value = True
    assert "no notebook" in panel.page.value
    import nbformat
    from nbformat.v4 import new_markdown_cell, new_notebook

    notebook = new_notebook(cells=[new_markdown_cell("# A record")])
    nbformat.write(notebook, runs / name / "notebook.ipynb")
    panel.controls["notebook"].value = False
    panel.controls["notebook"].value = True
    assert "A record" in panel.page.value and "sandbox" in panel.page.value
    panel.controls["filter"].value = "no such run"
    assert panel.controls["run"].value == "" and "0 of 4 runs" in panel.text.value


def test_the_tasks_of_the_browser_select_the_best_and_the_longest_run(runs):
    panel = RunBrowser(runs)
    c, done = panel.controls, panel.ledger[panel.ledger["status"] == "done"].set_index("run")
    c["filter"].value = "broken"
    for words, column in (("the highest AUROC", "auroc"), ("the longest training", "seconds")):
        press(panel, words)
        assert done[column][c["run"].value] == done[column].max() and c["filter"].value == ""


def test_the_channel_sends_at_once_and_both_servers_use_it(monkeypatch):
    heard = []
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: heard.append("connected"))
    channel = NoDelay.__new__(NoDelay)  # its traits only: no kernel is there
    channel.websocket_handler = Mock(KernelWebsocketHandler, set_nodelay=heard.append)
    channel.connect()
    assert heard == [True, "connected"]
    makefile = (ROOT / "Makefile").read_text()
    assert f"CHANNEL := {NoDelay.__module__}.{NoDelay.__name__}\n" in makefile
    for server in ("Voila", "ServerApp"):
        assert f"--{server}.kernel_websocket_connection_class=$(CHANNEL)" in makefile


def test_a_run_without_test_images_is_left_out(runs, tmp_path):
    root = shutil.copytree(runs, tmp_path / "runs")
    for path in root.glob("*/parameters.json"):
        facts = json.loads(path.read_text())
        facts["images"] |= {"test normal": 0, "test anomalous": 0}
        facts["metrics"] |= {"auroc": None, "auroc_low": None, "auroc_high": None}
        facts["digest"] = facts_digest(facts)
        path.write_text(json.dumps(facts))
    with pytest.raises(AdnError, match="make run"):
        ScoreExplorer(root)
