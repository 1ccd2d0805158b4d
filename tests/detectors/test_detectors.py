"""Every detector with every attention and every backbone on small images; properties; one sentence for bad input."""

import copy
import re
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import REAL_DATA
from torch import nn

import adnlib
from adnlib import AdnError
from adnlib.attention import ATTENTION, build_attention
from adnlib.datasets import Split
from adnlib.detectors import DETECTORS, base, build_detector, load_detector
from adnlib.detectors.csflow import cross_scale_flow
from adnlib.detectors.measure import CachedBackbone, evenly, masks_of, measure
from adnlib.detectors.padim import PaDiM
from adnlib.detectors.patchcore import PatchCore, greedy_coreset
from adnlib.experiments.grid import expand, point_name, read_tables
from adnlib.models.backbones import BACKBONES, Backbone
from adnlib.system.folders import ROOT
from adnlib.system.seeds import seeded

# A detector that has no entry here has no options to make it small.
SMALL = {
    "differnet": {"preset": "smoke", "epochs": 1},
    "nearest_patches": {"bank": 50},
    "spade": {"neighbours": 2, "map_neighbours": 2},
    "padim": {"dims": 8},
    "patchcore": {"coreset": 0.1, "projection": 4, "neighbours": 3},
    "cflow": {"blocks": 1, "condition": 4, "places": 4, "epochs": 1, "hidden": 0.1},
    "fastflow": {"steps": 2, "hidden": 0.02, "epochs": 1},
    "csflow": {"blocks": 1, "hidden": 2, "epochs": 1},
    "reverse_distillation": {"width": 0.05, "epochs": 1},
}
WITHOUT_MAP = {"differnet"}
NETWORKS, KNOWN = {}, {}  # a frozen network is never changed: built once for all detectors, its maps computed once


def remembered(name, attention=None, stages=None, weights="imagenet", seed=0, **options):
    """As Backbone, with random weights, so that no download is needed."""
    key = (name, attention, str(stages), seed, str(options))
    if key not in KNOWN:
        if (name, str(stages)) not in NETWORKS:
            NETWORKS[name, str(stages)] = Backbone(name, None, stages, "random", seed)
        backbone = copy.copy(NETWORKS[name, str(stages)])  # shares its network
        backbone._modules = dict(backbone._modules)
        with seeded(seed):
            pairs = zip(backbone.stages, backbone.channels, strict=True)
            backbone.attention = nn.ModuleDict(
                {str(stage): build_attention(attention, c, **options) for stage, c in pairs} if attention else {}
            )
        KNOWN[key] = CachedBackbone(backbone)
    return KNOWN[key]


@pytest.fixture
def small(monkeypatch):
    """Detectors on random weights."""
    monkeypatch.setattr(base, "Backbone", remembered)


def side(detector, backbone):
    """The smallest image, in px, that the detector takes: CS-Flow and DifferNet look at a quarter of it too."""
    return BACKBONES[backbone].step * (4 if detector in ("csflow", "differnet") else 1) + 3 * (detector == "differnet")


def pictures(size, count=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_attention_and_backbone(small, detector, backbone, tmp_path):
    if detector == "differnet" and backbone != "alexnet":
        with pytest.raises(AdnError, match="does not work with differnet, which uses AlexNet's"):
            build_detector(detector, backbone)
        return
    options, has_map = dict(SMALL.get(detector, {})), detector not in WITHOUT_MAP
    if detector == "differnet":
        options["backbone_options"] = {"weights": "random"}
    size = side(detector, backbone)
    images = pictures(size)
    plain, name = None, detector
    for attention in (None, *ATTENTION):
        detector = build_detector(name, backbone, attention, size, **options).fit(images[:4])
        scores, maps = detector.predict(images[4:])
        assert scores.shape == (2,) and scores.dtype == torch.float32 and scores.isfinite().all()
        assert (maps is not None) == has_map
        if has_map:
            assert maps.shape == (2, size, size) and maps.dtype == torch.float32 and maps.isfinite().all()
        plain = scores if plain is None else plain
        if attention in ("se", "cbam"):
            assert not torch.equal(scores, plain), f"attention={attention} changes nothing"
        if attention not in (None, "cbam"):
            continue  # below it makes no difference which
        detector.save(tmp_path / "detector.safetensors")
        loaded_scores, loaded_maps = load_detector(tmp_path / "detector.safetensors").predict(images[4:])
        assert torch.equal(scores, loaded_scores) and (maps is None or torch.equal(maps, loaded_maps))
        again = build_detector(name, backbone, attention, size, **options).fit(images[:4])
        assert torch.equal(again.score(images[4:]), scores)


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_score_of_an_image_is_its_own(small, detector):
    """It depends neither on the images scored beside it nor on the order; score and map are predict's."""
    options = dict(SMALL.get(detector, {}))
    if detector == "differnet":
        options["backbone_options"] = {"weights": "random"}
    size = side(detector, "alexnet")
    images = pictures(size)
    detector = build_detector(detector, image_size=size, **options).fit(images[:4])
    scores, maps = detector.predict(images)
    torch.testing.assert_close(detector.score(images.flip(0)), scores.flip(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(detector.score(images[5:]), scores[5:], rtol=1e-4, atol=1e-5)
    if maps is not None:
        torch.testing.assert_close(detector.map(images[5:]), maps[5:], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong, said",
    [
        (lambda: build_detector("padin"), "detector='padin' is not known"),
        (lambda: build_detector("padim", "resnet19"), "backbone='resnet19' is not known"),
        (lambda: build_detector("padim", attention="sea"), "attention='sea' is not known"),
        (lambda: build_detector("padim", coreset=0.1), "detector='padim' does not take the options ['coreset']"),
        (lambda: build_detector("padim", dims=5000), "dims=5000 is out of range: this backbone has 512 channels"),
        (lambda: build_detector("patchcore", coreset=0), "coreset=0 is out of range"),
        (lambda: build_detector("spade", neighbours=0), "neighbours=0"),
        (lambda: build_detector("nearest_patches", bank=0), "bank=0 stores no patch"),
        (lambda: build_detector("cflow", condition=6), "condition=6 cannot be split"),
        (lambda: build_detector("reverse_distillation", width=2), "width=2 is out of range"),
        (lambda: build_detector("csflow", image_size=248), "image_size=248 is too small for 3 scales, since"),
        (
            lambda: build_detector("fastflow", image_size=63, batch=1).fit(pictures(63)),
            "batch=1 is too small: choose 2",
        ),
        (
            lambda: build_detector("cflow", image_size=63, epochs=0).fit(pictures(63)),
            "took no step: choose epochs=1 or more",
        ),
        (lambda: build_detector("fastflow", image_size=32), "too small"),
        (lambda: build_detector("differnet", image_size=128), "image_size=128 is out of range"),
        (lambda: build_detector("differnet", preset="slow"), "preset='slow' is not known"),
        (lambda: build_detector("padim").score(pictures(256)), "has learned nothing yet"),
        (lambda: build_detector("padim").fit(pictures(64)), "this detector takes (N, 3, 256, 256)"),
        (lambda: build_detector("padim", image_size=64).fit(pictures(64)[:1]), "There are 1 training images"),
        (lambda: build_detector("padim", image_size=64).fit(pictures(64)[:0]), "There are no images"),
        (lambda: PaDiM(remembered("alexnet")).save("detector"), "Only a detector made by build_detector can be saved"),
        (lambda: load_detector("no/such/file"), "There is no file no/such/file"),
        (lambda: load_detector(__file__), "contains no saved detector"),
    ],
)
def test_bad_input_gets_one_sentence(small, wrong, said):
    with pytest.raises(AdnError, match=re.escape(said)) as caught:
        wrong()
    assert str(caught.value).endswith(".") and not re.search(r"\. [A-Z]", str(caught.value))


def test_what_is_trained_is_not_trained_on(small):
    """A cell that is run again would otherwise give another detector; one that only memorises starts again."""
    images = pictures(63)
    trained = build_detector("fastflow", image_size=63, epochs=1, steps=1).fit(images)
    with pytest.raises(AdnError, match="This FastFlow is already trained: build a new one"):
        trained.fit(images)
    memory = build_detector("nearest_patches", image_size=63).fit(images)
    assert torch.equal(memory.score(images), memory.fit(images).score(images))


def test_a_training_that_diverges_says_so(small):
    with pytest.raises(AdnError, match="diverged .* lower lr"):
        build_detector("fastflow", image_size=63, lr=1e12, epochs=9, steps=2).fit(pictures(63))


def test_gradients_stay_enabled_after_an_error(small, monkeypatch):
    detector = build_detector("padim", image_size=63, dims=2).fit(pictures(63))
    monkeypatch.setattr(detector, "judge", lambda maps: 1 / 0)
    with suppress(ZeroDivisionError):  # nothing keeps the error, and with it a generator that it interrupted
        detector.predict(pictures(63))
    assert torch.is_grad_enabled()


# --- properties of the methods ---


def test_padim_is_the_mahalanobis_distance(small):
    images = pictures(64, 12)
    detector = build_detector("padim", image_size=64, dims=6).fit(images[:10])
    x = detector.embed(detector.maps(images)).double().numpy()  # (12, 6, h, w)
    place = x[:, :, 2, 1]
    delta = place[11] - place[:10].mean(axis=0)
    expected = np.sqrt(delta @ np.linalg.inv(np.cov(place[:10].T) + 0.01 * np.eye(6)) @ delta)
    inside = torch.tensor(x[11:], dtype=torch.float32).flatten(2).permute(2, 1, 0) - detector.mean[:, :, None]
    at = 2 * x.shape[-1] + 1
    assert (detector.whitening @ inside)[at].norm().item() == pytest.approx(expected, rel=1e-4)


def test_the_coreset_covers_better_than_chance():
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0)) ** 3
    chosen = greedy_coreset(x, 100)
    assert len(set(chosen.tolist())) == 100
    farthest = [torch.cdist(x, x[rows]).min(dim=1).values.max() for rows in (chosen, torch.arange(100))]
    assert farthest[0] < 0.5 * farthest[1]


def test_patchcores_weight_is_the_formula():
    detector = PatchCore(remembered("alexnet"), 64, neighbours=3)
    detector.bank = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    patch, found = torch.tensor([[0.5, 0.5]]), torch.tensor([0])
    distances = np.array([np.hypot(0.5, 0.5), np.hypot(0.5, 0.5), np.hypot(0.5, 1.5)])  # to m* and its neighbours
    expected = 1 - np.exp(distances[0]) / np.exp(distances).sum()
    assert detector.weight(patch, found).item() == pytest.approx(expected, rel=1e-5)


def test_csflow_inverts_and_its_log_det_is_autograds():
    torch.manual_seed(0)
    shapes = [torch.Size((3, 4 // 2**s, 4 // 2**s)) for s in range(3)]
    flow = cross_scale_flow(shapes, blocks=2, hidden=3, clamp=3.0).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(0.5 * torch.randn_like(p))
    x = [torch.randn(2, *shape, dtype=torch.float64) for shape in shapes]
    z, log_det = flow(x)
    back, log_det_back = flow(z, rev=True)
    for a, b in zip(x, back, strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(log_det, -log_det_back)

    def flat(v):
        parts = v.split([shape.numel() for shape in shapes])
        z, _ = flow([part.view(1, *shape) for part, shape in zip(parts, shapes, strict=True)])
        return torch.cat([part.flatten() for part in z])

    jacobian = torch.autograd.functional.jacobian(flat, torch.cat([part[1].flatten() for part in x]))
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det[1])


# --- what is measured ---


def test_measure_finds_planted_defects(tiny):
    detector = build_detector("padim", image_size=64, dims=20)
    detector.backbone = CachedBackbone(detector.backbone)
    first, second = measure(detector, tiny), measure(detector, tiny)
    assert first["auroc"] == 1.0 and first["pixel_auroc"] > 0.9
    assert first["memory_mib"] > 0 and first["parameters"] == 0 and first["images_per_s"] > 0
    assert detector.backbone.saved > 0  # the second time nothing went through the backbone
    for key in ("auroc", "auroc_low", "auroc_high", "pixel_auroc", "memory_mib"):
        assert first[key] == second[key]


def test_masks_are_those_of_the_samples(tiny):
    masks = masks_of(tiny.test, 64)
    for mask, sample in zip(masks, tiny.test, strict=True):
        assert torch.equal(mask, sample.mask) if sample.label else not mask.any()
    assert masks_of(tiny.test, 32).float().mean() == masks.float().mean()
    unknown = Split(tuple(replace(sample, mask_path=None) for sample in tiny.test))
    assert masks_of(unknown, 64) is None


def test_a_grid_is_every_combination():
    grid = [{"detector": ["a", "b"], "seed": [0, 1], "category": "c"}]
    assert len(list(expand(grid))) == 4 and {p["category"] for p in expand(grid)} == {"c"}


def test_few_images_are_evenly_spaced(tiny):
    assert [sample.path for sample in evenly(tiny.train, 3)] == [tiny.train[i].path for i in (0, 4, 9)]
    assert len(evenly(tiny.train, 99)) == len(tiny.train)


def test_the_committed_table_is_the_grid():
    """Every point of grids/detectors.toml is there, once, with its numbers; no path of a machine."""
    table = pd.read_csv(ROOT / "data" / "detectors.csv")
    grid = read_tables(ROOT / "grids" / "detectors.toml")
    assert sorted(table["point"]) == sorted(point_name(point) for point in expand(grid))
    assert not table[["auroc", "auroc_low", "auroc_high", "fit_s", "images_per_s", "memory_mib"]].isna().any(axis=None)
    assert table["auroc"].between(table["auroc_low"], table["auroc_high"]).all()
    assert "/" not in (ROOT / "data" / "detectors.csv").read_text(encoding="utf-8")


def test_every_detector_reaches_its_mark_on_bottles():
    table = pd.read_csv(ROOT / "data" / "detectors.csv").query("category == 'mvtec_bottle'")
    best = table.groupby("detector")["auroc"].max()
    assert set(best.index) <= set(DETECTORS) and (best >= 0.95).all() and best["padim"] >= 0.99


@pytest.mark.slow
@pytest.mark.skipif(
    not (REAL_DATA / "mvtec_bottle").is_dir(), reason="no mvtec_bottle here: set ADN_REAL_DATA, see data/README.md"
)
def test_padim_on_real_bottles():
    data = adnlib.load_dataset(f"folder:{REAL_DATA}", "mvtec_bottle")
    row = measure(build_detector("padim"), data)
    assert row["auroc"] >= 0.98 and row["pixel_auroc"] >= 0.95
