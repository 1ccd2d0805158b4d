"""DifferNet in anomalib: the scores and the training of adnlib, by anomalib's Engine and data modules."""

import importlib
import shutil
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_category, save_image

import adnlib
from adnlib.differnet import DifferNet
from adnlib.errors import AdnError
from adnlib.evaluation import auroc, score
from adnlib.imagesets.reading import ANOMALOUS, NORMAL
from adnlib.presets import PRESETS
from adnlib.training import fit

pytestmark = pytest.mark.slow

NAME = "adnlib.detectors.anomalib"
TURNS = replace(PRESETS["smoke"], train_views=2, view_pool=2, test_views=2, lr_decay=True, max_norm=0.3)


@pytest.fixture(scope="module")
def build():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("anomalib", reason="anomalib is not installed: pip install anomalib")
        return importlib.import_module(NAME).AttentDifferNet


@pytest.fixture
def engine(build, tmp_path):
    from anomalib.engine import Engine

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Engine(accelerator="cpu", default_root_dir=tmp_path / "results", **quiet)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A category with published validation images, so that adnlib and anomalib train on the same images, and with
    images of several sizes."""
    folder = make_category(tmp_path_factory.mktemp("mixed") / "mixed", train=6, test=3)
    rng = np.random.default_rng(1)
    for part in ("train", "test"):
        save_image(folder / part / "good" / "wide.png", rng.integers(0, 256, (333, 500, 3), dtype=np.uint8))
    shutil.copytree(folder / "test" / "good", folder / "validation" / "good")
    return folder


def folder_data(folder, **options):
    from anomalib.data import Folder

    parts = {"normal_dir": "train/good", "normal_test_dir": "test/good", "abnormal_dir": "test/spot"}
    return Folder("parts", root=folder, mask_dir="ground_truth/spot", num_workers=0, seed=0, **parts, **options)


def scores_of(batches):
    """The score of each image by the end of its path."""
    pairs = [pair for batch in batches for pair in zip(batch.image_path, batch.pred_score.tolist(), strict=True)]
    return {"/".join(path.replace("\\", "/").split("/")[-2:]): value for path, value in pairs}


def expected_scores(model, split):
    names = [f"{sample.path.parent.name}/{sample.path.name}" for sample in split]
    return dict(zip(names, score(model, split).tolist(), strict=True))


@pytest.mark.parametrize("attention", [None, "cbam"])
def test_the_scores_are_adnlibs(build, engine, mixed, attention):
    data = adnlib.load_dataset(f"folder:{mixed.parent}", "mixed")
    ours = DifferNet(attention, preset=TURNS)
    fit(ours, data, epochs=1, device="cpu", progress=False)
    theirs = build(attention, preset=TURNS)
    theirs.model.net.load_own_state(ours.own_state())
    expected = expected_scores(ours, data.test)
    by_module = engine.predict(theirs, datamodule=folder_data(mixed, val_split_mode="same_as_test"))
    by_path = engine.predict(theirs, data_path=mixed / "test")
    for batches in (by_module, by_path):
        assert scores_of(batches) == pytest.approx(expected, rel=1e-4)


def test_the_engine_trains_as_adnlib_does(build, engine, mixed):
    data = adnlib.load_dataset(f"folder:{mixed.parent}", "mixed")
    ours = DifferNet("se", preset=TURNS)
    history = fit(ours, data, epochs=4, device="cpu", progress=False)
    assert history.chosen_epoch == 4  # the last one, which the Engine keeps
    theirs = build("se", preset=TURNS, epochs=4)
    engine.fit(theirs, datamodule=folder_data(mixed))  # all images are in one batch
    assert engine.trainer.callback_metrics["train_nll"] == pytest.approx(history.epochs["train_nll"].iloc[-1], rel=1e-4)
    untrained, found = DifferNet("se", preset=TURNS).own_state(), theirs.model.net.own_state()
    for name, expected in ours.own_state().items():
        moved = (expected - untrained[name]).abs().max().item()
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-3 * moved)


def test_a_trained_model_separates_the_defects(build, engine, tiny_folder):
    preset = replace(PRESETS["smoke"], view_pool=4)  # each image in one of four views
    model, data = build("se", preset=preset, epochs=6), folder_data(tiny_folder / "tiny", val_split_mode="same_as_test")
    engine.fit(model, datamodule=data)
    metrics = engine.test(model, datamodule=data)
    batches = engine.predict(model, datamodule=data)
    labels = torch.cat([batch.gt_label for batch in batches]).numpy().astype(int)
    found = torch.cat([batch.pred_score for batch in batches]).numpy()
    assert auroc(found[labels == NORMAL], found[labels == ANOMALOUS]) == 1
    assert metrics[0]["image_AUROC"] == 1
    assert metrics[0]["image_F1Score"] == pytest.approx(6 / 7)  # anomalib misses the image whose score is the threshold
    again = build.load_from_checkpoint(engine.best_model_path)
    assert scores_of(engine.predict(again, datamodule=data)) == scores_of(batches)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention": "nose"}, "attention='nose' is not known"),
        (
            {"attention": "se", "train_attention": True},
            "train_attention=True does not work in anomalib: use adnlib.fit",
        ),
        ({"attention": "se", "kernel": 3}, "does not take the options"),
        ({"preset": "huge"}, "preset='huge' is not known"),
        ({"epochs": 0}, "epochs=0 trains nothing: choose 1 or more"),
    ],
)
def test_bad_arguments(build, arguments, message):
    with pytest.raises(AdnError, match=message):
        build(**arguments)


def test_normalised_images_are_refused(build):
    with pytest.raises(AdnError, match="values outside of 0 to 1: remove Normalize"):
        build(preset="smoke").model(torch.randn(1, 3, 256, 256))


def test_without_anomalib(monkeypatch):
    monkeypatch.setitem(sys.modules, "anomalib", None)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    with pytest.raises(AdnError, match="needs anomalib .*: run `pip install anomalib`"):
        importlib.import_module(NAME)
