"""The ONNX file of a run: the same scores, maps and p-values as the run itself."""

import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_category
from torch import nn

import adnlib
from adnlib import AdnError, RunConfig, train_run
from adnlib.calibration import p_values
from adnlib.explain.maps import deviation_map
from adnlib.inspection.onnx_export import export_onnx
from adnlib.inspection.scoring import Scorer, model_input
from adnlib.system.files import sha256

ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install onnx onnxruntime")
pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx onnxruntime")

pytestmark = pytest.mark.slow


def trained(folder, runs, attention=None) -> Scorer:
    """A scorer that computes in float32, of a run on the category `tiny` in `folder`."""
    run = train_run(runs, RunConfig(f"folder:{folder}", "tiny", attention, preset="smoke", weights="random"))
    return in_float32(adnlib.load(run.folder))


def in_float32(scorer: Scorer, **changes) -> Scorer:
    scorer.model.preset = replace(scorer.model.preset, precision="float32", **changes)
    return scorer


@pytest.fixture(scope="module", params=[None, "se", "cbam"], ids=str)
def exported(request, tiny_folder, tmp_path_factory):
    """A scorer and its ONNX file."""
    root = tmp_path_factory.mktemp("onnx")
    scorer = trained(tiny_folder, root / "runs", request.param)
    return scorer, export_onnx(scorer, root / "run.onnx")


@pytest.fixture(scope="module")
def folder(tiny_folder, tmp_path_factory):
    """The folder of a run without attention."""
    return trained(tiny_folder, tmp_path_factory.mktemp("runs")).run.folder


@pytest.fixture
def scorer(folder):
    return in_float32(adnlib.load(folder))


def opened(path):
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def paths(scorer):
    return [sample.path for sample in scorer.run.dataset().test]


def inputs(scorer):
    return torch.stack([model_input(path, scorer.model.preset.image_size) for path in paths(scorer)])


def agree(session, scorer, x):
    """Asserts that the file's scores of x are the scorer's."""
    expected = [score.value for score in scorer.judge(x)]
    np.testing.assert_allclose(session.run(["score"], {"image": x.numpy()})[0], expected, rtol=1e-4)


def test_scores_maps_and_p_values_are_the_runs(exported):
    scorer, path = exported
    session, x = opened(path), inputs(scorer)
    scores, maps = session.run(None, {"image": x.numpy()})
    assert scores.dtype == maps.dtype == np.float32
    expected = [scorer.score(path) for path in paths(scorer)]
    np.testing.assert_allclose(scores, [score.value for score in expected], rtol=1e-4)
    wanted = deviation_map(scorer.model, x, scorer.normal, stretch=False).numpy()
    assert maps.shape == wanted.shape and abs(maps - wanted).max() < 1e-3 * wanted.max()
    facts = session.get_modelmeta().custom_metadata_map
    p = p_values(scores, np.array(json.loads(facts["calibration_scores"])))
    assert p.tolist() == [score.p_value for score in expected]
    assert (scores > float(facts["threshold"])).tolist() == [score.anomalous for score in expected]


def test_any_number_of_images_is_one_batch(exported):
    scorer, path = exported
    session, x = opened(path), inputs(scorer).numpy()
    score, map = session.run(None, {"image": x[:3]})
    assert score.shape == (3,) and map.shape == (3, 256, 256)
    for index in range(3):
        one, its_map = session.run(None, {"image": x[index : index + 1]})
        np.testing.assert_allclose(one, score[index : index + 1], rtol=1e-5)
        np.testing.assert_allclose(its_map[0], map[index], atol=1e-4 * map.max())


def test_the_metadata_is_read_back(exported):
    scorer, path = exported
    facts = opened(path).get_modelmeta().custom_metadata_map
    assert float(facts["threshold"]) == scorer.threshold and float(facts["rate"]) == scorer.rule.rate
    assert json.loads(facts["calibration_scores"]) == sorted(scorer.calibration["score"])
    assert int(facts["image_size"]) == 256 and float(facts["map_limit"]) == scorer.map_limit
    assert facts["run"] == scorer.run.folder.name and facts["variant"] == scorer.run.variant
    assert facts["run_digest"] == scorer.run.facts["digest"]
    assert facts["model_sha256"] == sha256(scorer.run.folder / "model.safetensors")
    assert (
        "Pillow's bilinear" in facts["image"]
        and facts["adnlib_version"] == scorer.run.facts["versions"]["attentdiffernet"]
    )


def test_the_same_run_gives_the_same_bytes_and_stays_unchanged(scorer, tmp_path):
    scorer.model.train()
    before = {name: x.clone() for name, x in scorer.model.state_dict().items()}
    first, second = (export_onnx(scorer, tmp_path / f"{k}.onnx").read_bytes() for k in range(2))
    assert first == second
    assert all(module.training and not module._forward_hooks for module in scorer.model.modules())
    assert any(x.requires_grad for x in scorer.model.flow.parameters())
    assert all(torch.equal(x, before[name]) for name, x in scorer.model.state_dict().items())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".tmp-")]


@pytest.mark.parametrize(
    "changes",
    [
        {"turns": "quarter", "test_views": 5},  # the fifth is a mirror image
        {"turns": "random", "test_views": 2},
        {"turns": "quarter", "test_views": 2, "brightness": 0.5, "contrast": 0.5, "saturation": 1},
    ],
    ids=["quarter turns", "random angles", "colours"],
)
def test_every_kind_of_view_is_exact(scorer, tmp_path, changes):
    in_float32(scorer, **changes)
    agree(opened(export_onnx(scorer, tmp_path / "run.onnx")), scorer, inputs(scorer)[:2])


def test_without_the_images_the_map_is_left_out(tmp_path):
    make_category(tmp_path / "data" / "tiny")
    scorer = trained(tmp_path / "data", tmp_path / "runs")
    x = inputs(scorer)[:1]
    shutil.rmtree(tmp_path / "data")
    session = opened(export_onnx(scorer, tmp_path / "run.onnx"))
    assert [output.name for output in session.get_outputs()] == ["score"]
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["map"].startswith("left out: ") and "map_limit" not in facts
    agree(session, scorer, x)


def test_what_cannot_be_exported_is_refused_in_one_sentence(scorer, tmp_path, monkeypatch):
    class Turned(nn.Module):
        def forward(self, x):
            return x.mT  # an operator that ONNX lacks

    path = tmp_path / "run.onnx"
    scorer.model.features.attention["2"] = Turned()
    with pytest.raises(AdnError, match=r"cannot be written as ONNX \(.*aten::mT.*\): score with adnlib.load instead"):
        export_onnx(scorer, path)
    monkeypatch.setattr("adnlib.inspection.onnx_export.LIMIT", 1000)
    with pytest.raises(AdnError, match="an ONNX file holds 2 GiB: train with a smaller flow"):
        export_onnx(scorer, path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(AdnError, match="needs the package onnx .*: pip install onnx"):
        export_onnx(scorer, path)
    assert not path.exists()
