"""The painter without a browser: the brush, the variants side by side, and what happens to strokes."""

import io
import json
import re
import shutil
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

import adnlib
from adnlib import AdnError
from adnlib.calibration import p_values
from adnlib.experiments.ledger import facts_digest
from adnlib.experiments.runs import read_runs
from adnlib.imagesets.reading import NORMAL
from adnlib.panels import judging
from adnlib.panels.brush import KINDS, moved, paint
from adnlib.panels.judging import judge, scores, seen
from adnlib.panels.limit import OPACITIES, SIZES, limit_in_words, sweep
from adnlib.panels.loaded_run import heat_map
from adnlib.panels.own_picture import FARTHEST, distance
from adnlib.panels.painter import Painter
from adnlib.panels.variants import disagreement, families, family, family_choices, most_disputed, p_value
from adnlib.presets import PRESETS
from adnlib.system.files import sha256

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    """Smoke runs of three variants, and one of another seed."""
    root = tmp_path_factory.mktemp("runs")
    for attention, seed in ((None, 0), ("se", 0), ("cbam", 0), (None, 1)):
        config = adnlib.RunConfig(f"folder:{tiny_folder}", "tiny", attention, preset="smoke", seed=seed, device="cpu")
        adnlib.train_run(root, config)
    return root


@pytest.fixture
def painter(runs):
    return Painter(runs)


def dot(painter, *at: float) -> list[dict]:
    """One stroke with the painter's brush."""
    return [{"points": [list(at or (0.5, 0.5))], **painter.controls["strokes"].brush}]


def stroke(**changes):
    along = [[0.25, 0.25], [0.75, 0.25]]
    return {"points": along, "size": 0.1, "colour": "#ff0000", "blur": 0.0, "opacity": 1.0, **changes}


def test_a_stroke_paints_its_pixels_and_no_others():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    painted = paint(image, [stroke()])
    red = painted[0] == 255
    assert red[9:12, 9:32].all() and not red[14:].any() and not red[:7].any() and not red[:, 34:].any()
    assert painted[1:].max() == 0 and image.max() == 0
    assert paint(image, []).equal(image)


def test_blur_and_opacity_soften_a_stroke():
    image = torch.zeros(3, 40, 40, dtype=torch.uint8)
    sharp, soft = paint(image, [stroke()])[0], paint(image, [stroke(blur=0.075)])[0]
    assert soft.max() < sharp.max() and (soft > 0).sum() > (sharp > 0).sum()
    assert abs(int(paint(image, [stroke(opacity=0.5)])[0].max()) - 127) <= 1


def test_a_click_is_a_dot():
    painted = paint(torch.zeros(3, 40, 40, dtype=torch.uint8), [stroke(points=[[0.5, 0.5]], size=0.15)])
    assert 20 <= int((painted[0] > 0).sum()) <= 50


@pytest.mark.parametrize("blur", [0.0, 0.05])
def test_a_stroke_is_the_same_defect_at_any_image_size(blur):
    small, large = (paint(torch.zeros(3, side, side, dtype=torch.uint8), [stroke(blur=blur)])[:1] for side in (80, 320))
    shrunk = torch.nn.functional.avg_pool2d(large.float(), 4)
    assert (shrunk - small).abs().mean() < 0.3 * shrunk.mean()  # the edges are only as fine as the pixels


def test_moved():
    image = torch.randint(0, 120, (3, 8, 8), dtype=torch.uint8)
    assert moved(image, 0, 1).equal(image)
    assert moved(image, 90, 1).equal(torch.rot90(image, 1, (-2, -1)))
    assert moved(image, 0, 2).equal(image * 2)
    assert moved(image, 0, 99).max() == 255


def test_painting_changes_the_verdicts_and_undo_brings_them_back(painter):
    c = painter.controls
    clean, picture = painter.text.value, c["strokes"].picture
    c["kind"].value = "hole"
    assert (c["size"].value, c["colour"].value, c["blur"].value, c["opacity"].value) == KINDS["hole"]
    c["strokes"].value = dot(painter)
    assert painter.text.value != clean and c["strokes"].picture != picture and c["strokes"].judged == 1
    painter.buttons["undo"].click()
    assert painter.text.value == clean and c["strokes"].picture == picture and c["strokes"].judged == 0


def test_every_image_keeps_its_strokes(painter):
    c = painter.controls
    c["strokes"].value = first = dot(painter)
    painted = painter.text.value
    c["image"].value = 2
    assert c["strokes"].value == []
    c["strokes"].value = second = dot(painter, 0.2, 0.2)
    c["image"].value = 1
    assert c["strokes"].value == first and painter.text.value == painted
    c["image"].value = 2
    assert c["strokes"].value == second


def test_all_variants_of_a_seed_are_judged_together(painter, runs):
    c = painter.controls
    assert [run.name for run in painter.family] == ["DifferNet", "SE, frozen", "CBAM, frozen"]
    assert [bool(image.value) for image in painter.images] == [True, True, True, False]
    assert len(c["run"].options) == 2
    c["run"].value = c["run"].options[1][1]
    assert [bool(image.value) for image in painter.images] == [True, False, False, False]
    assert painter.text.value.count("scope='row'") == 1


def test_at_most_four_variants_are_shown_and_the_chosen_one_is_among_them(runs):
    several = read_runs(runs)
    every = [Mock(folder=f"run{k}", parameters=several[0].parameters, variant=f"v{k}") for k in range(6)]
    assert len(families(several)) == 2 and len(families(every)) == 1
    labels = [label for label, _ in family_choices(every)]
    assert len(labels) == 3 and labels[0].startswith("v0, v1, v2, v3 ·") and labels[1].startswith("v4 and others")
    last = str(several[2].folder)
    assert last in [str(run.run.folder) for run in family(last, several)]


def test_models_that_share_their_stem_give_the_scores_of_the_runs(painter):
    runs, clean = painter.family, painter.family[0].image(painter.place)
    found = [score.item() for score in scores([run.model for run in runs], clean[None])]
    close = 1e-4 if runs[0].run.facts["precision"] == "float32" else 2e-3  # a batch of another size rounds differently
    assert found == pytest.approx([run.test["score"][painter.place] for run in runs], rel=close)


@pytest.mark.parametrize("placement", ["figure", "before-pool", "after-pool5"])
def test_the_shared_stem_ends_where_the_first_attention_begins(placement):
    preset = replace(PRESETS["smoke"], precision="float32")
    models = [adnlib.DifferNet(attention, placement, preset=preset).eval() for attention in (None, "se", "cbam")]
    image = torch.randint(0, 255, (2, 3, 256, 256), dtype=torch.uint8)
    for model, score in zip(models, scores(models, image), strict=True):
        torch.testing.assert_close(score, model.anomaly_score(image))
    for model, (score, heat) in zip(models, seen(models, image[0]), strict=True):
        assert score == pytest.approx(model.anomaly_score(image[:1]).item(), rel=1e-4)
        np.testing.assert_allclose(heat, heat_map(model, image[0]), atol=1e-3)


def test_without_the_unchanged_view_the_map_is_computed_separately():
    model = adnlib.DifferNet(preset=replace(PRESETS["smoke"], turns="random", precision="float32")).eval()
    image = torch.randint(0, 255, (3, 256, 256), dtype=torch.uint8)
    ((score, heat),) = seen([model], image)
    assert score == pytest.approx(model.anomaly_score(image[None]).item(), rel=1e-4)
    np.testing.assert_array_equal(heat, heat_map(model, image))


def test_a_judged_image_is_not_judged_again(painter, monkeypatch):
    image = painter.family[0].image(painter.place)
    first = judge(painter.family, [image] * 3)
    monkeypatch.setattr(judging, "seen", None)
    assert judge(painter.family, [image] * 3) == first


def test_disagreement_is_the_difference_of_ranks(painter):
    runs = painter.family
    found = disagreement(runs)
    place, count = int(found.argmax()), len(found)
    ranks = [int((run.test["score"] < run.test["score"][place]).sum()) for run in runs]
    assert found[place] == pytest.approx((max(ranks) - min(ranks)) / count)
    order = most_disputed(runs, NORMAL)
    assert (np.diff(found[order]) <= 0).all() and set(runs[0].test["label"][order]) == {NORMAL}
    for place in (*order, order[0]):  # one after another, and round again
        painter.buttons["disputed"].click()
        assert painter.place == place


def test_the_table_has_the_p_value_of_the_runs_calibration(painter):
    run = painter.family[1]
    score, known = float(run.test["score"][painter.place]), run.run.calibration["score"].to_numpy()
    assert p_value(run, score) == p_values(np.array([score]), known)[0]
    assert (
        f"<td>{p_value(run, judge(painter.family, [run.image(painter.place)] * 3)[1]):.2g}</td>" in painter.text.value
    )


def test_both_runs_are_shown_the_same_defect_whatever_their_image_size(runs, tmp_path):
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    run = read_runs(tmp_path)[-2]
    facts = run.facts | {"preset": run.facts["preset"] | {"image_size": 320}}
    facts["digests"] = {name: sha256(run.folder / name) for name in facts["digests"]}
    (run.folder / "parameters.json").write_text(json.dumps(facts | {"digest": facts_digest(facts)}))
    painter = Painter(tmp_path)
    c = painter.controls
    c["kind"].value = "hole"
    c["strokes"].value = dot(painter, 0.8, 0.8)
    sizes = set()
    for opened, (shown, *_) in zip(painter.family, painter.judged(c["strokes"].value, 0, 1), strict=True):
        changed = (shown != opened.image(painter.place)).any(0).nonzero() / opened.size
        sizes.add(shown.shape[-1])
        assert changed.amin(0).tolist() == pytest.approx([0.765] * 2, abs=0.01)
        assert changed.amax(0).tolist() == pytest.approx([0.835] * 2, abs=0.01)
    assert sizes == {256, 320}


def test_save_sends_what_is_judged_to_the_browser(painter):
    painter.controls["angle"].value = 90
    easel = painter.controls["strokes"]
    easel.send = Mock()
    painter.buttons["save"].click()
    (message,), buffers = easel.send.call_args.args, easel.send.call_args.kwargs["buffers"]
    saved = torch.from_numpy(np.array(Image.open(io.BytesIO(buffers[0])))).permute(2, 0, 1)
    assert message["download"].endswith(".png") and saved.equal(moved(painter.painted, 90, 1))


def test_an_error_while_judging_does_not_leave_the_easel_busy(painter, monkeypatch):
    monkeypatch.setattr("adnlib.panels.painter.judge", Mock(side_effect=ValueError("no")))
    with pytest.raises(ValueError):
        painter.controls["strokes"].value = dot(painter, 0.3, 0.6)
    assert painter.controls["strokes"].judged == 1 and "no" in painter.message.value


# --- the limit ---


def test_the_sweep_judges_the_painted_dot(painter):
    runs, clean = painter.family, painter.family[0].image(painter.place)
    c = painter.controls
    c["kind"].value, c["strokes"].at = "hole", [0.25, 0.75]
    *_, ratios = sweep(runs, [clean] * 3, {**c["strokes"].brush, "points": [[0.25, 0.75]]}, 0, 1)
    dot = {**c["strokes"].brush, "points": [[0.25, 0.75]], "size": SIZES[1] / 100, "opacity": OPACITIES[3]}
    image = paint(clean, [dot])
    expected = [score / run.threshold for score, run in zip(judge(runs, [image] * 3), runs, strict=True)]
    assert ratios[:, 1, 3] == pytest.approx(expected, rel=1e-2) and np.isfinite(ratios).all()


def test_the_limit_is_found_where_the_pen_is_and_forgotten_with_the_image(painter):
    painter.controls["strokes"].at = [0.1, 0.9]
    painter.buttons["limit"].click()  # no event loop here: to the end
    assert "at 10 % across, 90 % down" in painter.limits.value and 2 <= painter.limits.value.count("<p>") <= 4
    assert painter.controls["strokes"].mark == [0.1, 0.9]
    assert painter.limit.value and painter.limit.layout.display is None
    painter.controls["size"].value = 3
    assert painter.limit.value  # the sweep has its own sizes
    painter.controls["kind"].value = "hole"  # another colour
    assert not painter.limit.value and painter.limits.value == "" and painter.controls["strokes"].mark == []


def test_each_task_is_done_by_its_button(painter):
    def press(words) -> str:
        painter.guides[words].click()
        assert painter.message.value == ""
        return re.findall("aria-current='true'><th scope='row'>(.*?)</th>", painter.tried.value)[0]

    assert press("a long scratch") == "line 67 % long, 0.8 % wide"
    assert press("a small hole") == "dot of 7.0 %"
    assert press("darken the clean image") == "clean image, brightness × 0.7"
    assert press("a long scratch") == "line 67 % long, 0.8 % wide" and painter.tried.value.count("<tr") == 5
    for words, place in (("the limit in the middle", "50 % across"), ("the limit near the edge", "5 % across")):
        press(words)
        assert f"at {place}, 50 % down" in painter.limits.value and painter.limit.value


def test_the_limit_in_words_is_said_once_for_equal_limits():
    first, second = Mock(), Mock()
    first.name, second.name = "SE", "CBAM"
    ratios = np.zeros((2, len(SIZES), len(OPACITIES)))
    assert limit_in_words([first, second], ratios) == [
        "SE; CBAM: not even an opaque dot of 16 % of the side is detected."
    ]
    ratios[0, :2, 2:] = 2
    (words, _) = limit_in_words([first, second], ratios)
    assert words == "SE: opaque dots are detected from 8 % of the side, dots of 16 % from opacity 0.4."
    ratios[0, 4, 4] = 2  # seen by chance below the limit
    assert "from 8 %" in limit_in_words([first, second], ratios)[0]
    assert "whatever the dot is" in limit_in_words([first], ratios[:1] + 2)[0]


def test_what_has_been_tried_on_an_image_stays_in_a_list(painter):
    c = painter.controls

    def rows() -> list[tuple]:
        """(what, whether it is shown now, score / threshold of the variants)."""
        found = re.findall(r"<tr( aria-current='true')?><th scope='row'>(.*?)</th>(.*?)</tr>", painter.tried.value)
        return [(what, bool(now), re.findall("<td>(.*?)</td>", cells)) for now, what, cells in found]

    assert [row[:2] for row in rows()] == [("clean image", True)]
    c["strokes"].value = [{**c["strokes"].brush, "points": [[0.2, 0.2], [0.5, 0.6]]}]
    painter.buttons["undo"].click()
    c["kind"].value = "hole"
    c["strokes"].value = dot(painter)
    assert [row[:2] for row in rows()] == [
        ("clean image", False),
        ("line 50 % long, 0.8 % wide", False),
        ("dot of 7.0 %", True),
    ]
    expected = [f"{now / run.threshold:.2f}" for run, (_, now, _) in zip(painter.family, painter.last[1], strict=True)]
    assert [float(ratio) for ratio in rows()[2][2]] == pytest.approx([float(x) for x in expected], abs=0.006)
    painter.buttons["undo"].click()
    for angle in (5, 10):  # a slider that is dragged has one row
        c["angle"].value = angle
    assert [row[:2] for row in rows()][3:] == [("clean image, rotated by 10°", True)]
    c["image"].value = 2
    assert len(rows()) == 2
    c["image"].value, c["angle"].value = 1, 0
    assert len(rows()) == 4 and rows()[0][1]


# --- an own picture ---


def test_an_own_picture_is_judged_as_if_it_were_a_test_image(painter):
    c, run = painter.controls, painter.family[0]
    place = int(np.flatnonzero(run.test["label"])[0])
    c["own"].value = run.dataset.test[place].path.read_bytes()
    assert painter.clean(run).equal(run.image(place))
    assert painter.judged([], 0, 1)[0][1] == pytest.approx(run.test["score"][place], rel=2e-3)
    c["strokes"].value = dot(painter)
    c["image"].value = 2
    assert c["own"].value == b"" and c["strokes"].value == []


def test_a_picture_unlike_all_training_images_is_flagged(painter, tmp_path):
    c, run = painter.controls, painter.family[0]
    known = run.dataset.validation[0]
    assert distance(run, known.read(run.size)) <= 1.01
    c["own"].value = known.path.read_bytes()
    assert painter.remark.value == ""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = (255, 0, 0)
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    c["own"].value = (tmp_path / "stripes.png").read_bytes()
    assert "unlike all training images" in painter.remark.value and f"{FARTHEST:g} times" in painter.remark.value
    c["image"].value = 2
    assert painter.remark.value == ""


def test_a_file_that_is_no_picture_is_refused_and_the_image_stays(painter):
    before = painter.text.value
    with pytest.raises(AdnError, match="PNG, JPEG"):
        painter.controls["own"].value = b"no picture"
    assert painter.controls["own"].value == b"" and "PNG, JPEG" in painter.message.value
    painter.controls["brightness"].value = 0.9
    assert painter.message.value == "" and painter.text.value != before
