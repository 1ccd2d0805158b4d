"""Scoring of one image of any kind: the same score as in training, or one sentence."""

import numpy as np
import pytest
import torch
from bad_input.images import ARRAYS
from PIL import Image

import adnlib
from adnlib import AdnError, DifferNet, RunConfig, train_run
from adnlib.evaluation import score
from adnlib.inspection.scoring import Score, Scorer, model_input

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tiny_folder, tmp_path_factory):
    config = RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", weights="random")
    return train_run(tmp_path_factory.mktemp("runs"), config)


@pytest.fixture(scope="module")
def scorer(run):
    return adnlib.load(run.folder)


@pytest.fixture(scope="module")
def path(run):
    return run.dataset().test[0].path


def forms(path):
    picture = Image.open(path).convert("RGB")
    array = np.asarray(picture)
    tensor = torch.from_numpy(array.copy()).permute(2, 0, 1)
    return {
        "path": path,
        "name": str(path),
        "PIL image": picture,
        "array": array,
        "array of wider numbers": array.astype(np.int64),
        "float array": array / 255,
        "tensor": tensor,
        "float tensor": tensor.float() / 255,
        "double tensor": tensor.double() / 255,
        "turned array in memory": np.asfortranarray(array),
        "RGBA": picture.convert("RGBA"),
    }


def test_a_file_has_the_score_of_its_row(scorer, run):
    sample = run.dataset().test[0]
    expected = run.test["score"].iloc[0]
    got = scorer.score(sample.path)
    assert got.value == pytest.approx(expected, rel=1e-5)
    assert got.anomalous == (got.value > got.threshold)
    assert got.remark == ""


def test_every_form_of_an_image_is_the_same_input(path):
    inputs = {name: model_input(image, 64) for name, image in forms(path).items()}
    for name, x in inputs.items():
        assert x.dtype == torch.uint8 and x.shape == (3, 64, 64)
        assert torch.equal(x, inputs["path"]), name


def test_grey_images_have_three_equal_channels():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for image in (grey, grey[..., None], torch.from_numpy(grey), torch.from_numpy(grey)[None], Image.fromarray(grey)):
        x = model_input(image, 8)
        assert torch.equal(x, torch.from_numpy(grey).expand(3, 8, 8))


def test_the_callers_image_is_unchanged(path):
    for name, image in forms(path).items():
        before = np.asarray(image).copy() if name not in ("path", "name") else None
        model_input(image, 32)
        assert before is None or np.array_equal(before, np.asarray(image))


@pytest.mark.parametrize("kind", ARRAYS)
def test_what_cannot_be_judged_is_refused_in_one_sentence(scorer, kind):
    image, message = ARRAYS[kind]
    with pytest.raises(AdnError, match=message) as refused:
        scorer.score(image)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "images, message",
    [
        (
            torch.zeros(1, 3, 512, 384, dtype=torch.uint8),
            "Images of 512 x 384 px cannot be scored by a model for 256 x 256",
        ),
        (torch.full((1, 3, 256, 256), 200.0), "have values outside of 0 to 1"),
        (torch.full((1, 3, 256, 256), torch.nan), "have values outside of 0 to 1"),
        (torch.zeros(1, 3, 256, 256, dtype=torch.int64), r"\(torch.int64\) have values outside"),
        (torch.zeros(1, 1, 256, 256), "have the shape"),
        (torch.zeros(3, 256, 256), "have the shape"),
    ],
)
def test_the_model_refuses_what_it_was_not_made_for(images, message):
    with pytest.raises(AdnError, match=message):
        DifferNet(preset="smoke", weights="random").anomaly_score(images)


def test_what_is_far_from_everything_seen_is_remarked(scorer, run, path):
    assert scorer.score(np.zeros((64, 64, 3), np.uint8)).remark == "all pixels of the image have the value 0"
    low, high = scorer.usual
    assert low == run.scores["score"].min() and high == run.scores["score"].max()
    narrow = Scorer(run.folder)
    narrow.usual = (1e6, 2e6)
    assert "far outside of the scores of the run's own images (1e+06 to 2e+06)" in narrow.score(path).remark


def test_every_test_image_has_the_score_of_the_table(scorer, run):
    dataset = run.dataset()
    values = [scorer.score(sample.path).value for sample in dataset.test]
    np.testing.assert_allclose(values, score(scorer.model, dataset.test), rtol=1e-4)
    assert not Score(1.0, 0.5, 1.0).anomalous and Score(1.1, 0.1, 1.0).anomalous


def test_a_stream_is_scored_one_by_one(scorer, path):
    def camera():
        yield path
        yield Image.open(path)
        raise AssertionError("asked for a frame too early")

    stream = scorer.score(camera())
    assert next(stream) == next(stream) == scorer.score(path)
    assert [score.value for score in scorer.score([path, path])] == [scorer.score(path).value] * 2
    with pytest.raises(AdnError, match="A list is not an image"):
        next(scorer.score([[1, 2]]))


def test_p_values_and_verdicts_agree(run):
    scorer = adnlib.load(run.folder, rate=0.4)
    for sample in run.dataset().test:
        score = scorer.score(sample.path)
        assert score.anomalous == (score.p_value <= 1 / 3)  # two images: the rates that can be promised are thirds
        assert score.threshold == scorer.rule.threshold
    assert "also selected the epoch" in scorer.note
    assert "needs 99 calibration images" in str(adnlib.load(run.folder).rule)


def test_a_map_is_where_the_defect_is(scorer, run):
    sample = next(sample for sample in run.dataset().test if sample.label)
    score = scorer.score(sample.path, map=True)
    assert score.map.shape == (256, 256) and score.value == scorer.score(sample.path).value
    inside = sample.mask_at(256).numpy()
    assert score.map[inside].mean() > 2 * score.map[~inside].mean()
