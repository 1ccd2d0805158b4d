"""Every path that a GPU can take, on a pretended one (tests/pretended.py): which tensors would be mixed between GPU and
CPU, and where the CPU would wait for the GPU. Each kind of fault is planted once to see that it is found."""

import pkgutil
from collections import Counter
from dataclasses import replace
from functools import partial
from unittest import mock

import pytest
import torch
from pretended import GPU, moved, pretended_gpu
from test_detectors import SMALL

from adnlib import PRESETS, DifferNet, RunConfig, evaluate, fit, training
from adnlib.attention import ATTENTION, build_attention
from adnlib.detectors import DETECTORS, build_detector
from adnlib.differnet import latent_score
from adnlib.engine import extraction
from adnlib.engine.feature_sources import FrozenFeatures, JointFeatures
from adnlib.evaluation import score, watch_test
from adnlib.experiments.runs import train_run
from adnlib.explain import maps
from adnlib.flow import nll
from adnlib.inspection.scoring import Scorer
from adnlib.panels.gate_explorer import forced
from adnlib.panels.loaded_run import LoadedRun
from adnlib.system.device import place_for, resident
from adnlib.training import TrainingLoop
from adnlib.views import OwnViews, View

SMOKE = replace(PRESETS["smoke"], batch_images=5)  # two batches of the tiny data set
FRESH = replace(SMOKE, own_views=True, turns="random", view_pool=0, rescale=False, brightness=0.1, shift=0.1)
MIXED = "device"  # in each of PyTorch's messages about tensors on two devices


def images(count=2):
    return torch.zeros(count, 3, 256, 256, dtype=torch.uint8, device=GPU)


def model_of(attention=None, train_attention=False, preset=SMOKE):
    return DifferNet(attention, train_attention=train_attention, preset=preset, weights="random")


def loop_of(model, data):
    """A training loop on the pretended GPU."""
    source = (JointFeatures if model.trains_jointly else FrozenFeatures)(moved(model), data, False)
    return TrainingLoop(model, source, len(data.train), seed=0, epochs=2)


def on_the_cpu(function):
    """The function with a fault: a tensor that it creates on the CPU becomes part of its result."""
    return lambda *args, **options: function(*args, **options) + torch.zeros(1)


# --- what runs on it ---


@pytest.mark.parametrize("pooling", ["mean", "surprise"])
@pytest.mark.parametrize("attention", [None, *ATTENTION])
def test_features_flow_and_score(attention, pooling):
    model = model_of(attention, preset=replace(SMOKE, pooling=pooling))
    with pretended_gpu() as waits, torch.no_grad():
        z, log_det = moved(model)(images())
        assert z.shape == (2, 768) and {z.device, log_det.device} == {GPU}
        assert nll(z, log_det).device == latent_score(z[:, None]).device == GPU
        assert waits == []


@pytest.mark.parametrize("turns, light, shift", [("quarter", (0.2, 0.1, 0.1), 0.0), ("random", (0.2, 0.0, 0.0), 0.1)])
def test_own_views(turns, light, shift):
    views = OwnViews(4, 2, turns, light, shift, 0.1).of(torch.tensor([3, 1]))
    with pretended_gpu() as waits:
        for view in views:
            assert view(images()).device == GPU and view(images()).shape == (2, 3, 256, 256)
        assert waits == []


@pytest.mark.parametrize("view", [View(), View(90, True), View(33.0), View(0.0, False, 1.1, 0.9, 1.2)])
def test_shared_views(view):
    with pretended_gpu() as waits:
        assert view(images()).device == GPU
        assert waits == ["to GPU: views.py __call__"] * 2 * (view.angle == 33)  # torchvision's matrix and its scale


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_modules(name):
    module = build_attention(name, 64)
    with pretended_gpu() as waits, torch.no_grad():
        assert moved(module)(torch.zeros(2, 64, 15, 15, device=GPU)).device == GPU
        assert waits == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "attention, trained, preset",
    [
        (None, False, replace(SMOKE, max_norm=1.0)),
        (None, False, FRESH),
        ("se", "guarded", replace(FRESH, turns="quarter")),
    ],
)
def test_training_waits_for_the_gpu_once_per_epoch(tiny, attention, trained, preset):
    """In its losses, views, features, backward pass and optimiser, and in the validation of an epoch."""
    model = model_of(attention, trained, preset)
    with pretended_gpu() as waits:
        loop = loop_of(model, tiny)
        waits.clear()
        assert not loop.step() and loop.step()
        loop.end_epoch()
        assert waits == ["to CPU: training.py end_epoch"]
        assert (
            {p.grad.device for p in loop.parameters.values()} == {x.device for x in loop.best_weights.values()} == {GPU}
        )


@pytest.mark.slow
@pytest.mark.parametrize("attention, trained", [(None, False), ("se", "cutpaste")])
def test_a_training_and_its_evaluation(tiny, monkeypatch, attention, trained):
    monkeypatch.setattr(training, "learn_attention", partial(training.learn_attention, epochs=1))
    model = model_of(attention, trained)
    with pretended_gpu():
        history = fit(model, tiny, progress=False, epochs=1, watch=watch_test(tiny))
        assert len(history.epochs) == 1 and "test_auroc" in history.epochs
        assert len(evaluate(model, tiny).scores) == len(tiny.validation) + len(tiny.test)
        assert model.device == GPU


def test_scoring_waits_for_the_gpu_once_per_split_apart_from_the_images(tiny, monkeypatch):
    monkeypatch.setattr(extraction, "chunk_size", lambda size: 2)
    monkeypatch.setattr(extraction.cache, "module_digest", lambda module: "")  # reads all weights once
    model = model_of(preset=replace(SMOKE, test_views=4))
    with pretended_gpu() as waits:
        assert len(score(moved(model), tiny.test)) == 8
        assert Counter(waits) == {
            "to GPU: extraction.py extract": 4,  # two images at a time
            "to CPU: extraction.py features_of": 1,  # for the cache
            "to GPU: extraction.py features_of": 1,
            "to CPU: evaluation.py _score": 1,
        }


@pytest.mark.slow
def test_maps():
    model, normal, views = model_of("cbam"), torch.zeros(2, 3, 256, 256, dtype=torch.uint8), maps.VIEWS[1:2]
    with pretended_gpu():
        moved(model)
        found = [maps.grad_cam(model, images(), views=views), maps.gradient_map(model, images(), views)]
        found.append(maps.deviation_map(model, images(), normal))
        assert {tuple(where.shape) for where in found} == {(2, 256, 256)}


@pytest.mark.parametrize("attention", ["cbam", "constant", "coordinate"])
def test_gates(attention):
    model = model_of(attention)
    with pretended_gpu():
        found = maps.gates(moved(model), images())
        assert {gate.device for one in found.values() for gate in one.values() if gate is not None} == {GPU}


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_detectors(name):
    """Also with a fault: what was learned stays on the CPU."""
    stages = {} if name == "differnet" else {"stages": (2, 3)}
    options = {"patchcore": {"projection": 4, "coreset": 0.005}}.get(name, SMALL.get(name, {}))
    options = options | {"backbone_options": {"weights": "random", **stages}}
    detector, shown = build_detector(name, **options), torch.zeros(4, 3, 256, 256, dtype=torch.uint8)
    with pretended_gpu() as waits:
        moved(detector).fit(shown)
        assert sum("base.py" in wait and wait[:5] == "value" for wait in waits) <= 4  # fitted, diverged in each stage
        scores, where = detector.predict(shown)
        assert scores.shape == (4,) and (where is None or where.shape == (4, 256, 256))
        left = {name: torch.zeros(x.shape) for name, x in detector.learned().items() if x.is_floating_point()}
        for name, x in left.items():
            path, _, leaf = name.rpartition(".")
            owner = detector.get_submodule(path)
            (owner._buffers if leaf in owner._buffers else owner._parameters)[leaf] = x
        with pytest.raises(RuntimeError) as caught:
            detector.predict(shown)
        assert MIXED in f"{caught.value} {caught.value.__cause__}"  # FrEIA wraps the error


@pytest.fixture(scope="module")
def run(tiny_folder, tmp_path_factory):
    config = RunConfig(f"folder:{tiny_folder}", "tiny", "cbam", preset="smoke", weights="random", device="cpu")
    return train_run(tmp_path_factory.mktemp("runs"), config, progress=False)


@pytest.mark.slow
def test_a_loaded_run_in_the_panels_and_in_scoring(run):
    scorer, loaded = Scorer(run.folder), LoadedRun(run)
    assert loaded.model.device == scorer.model.device == torch.device("cpu")
    image, place = loaded.image(0), "conv5"
    _, scorer.normal, scorer.map_limit = scorer.usual, scorer.normal, scorer.map_limit
    with pretended_gpu():
        moved(loaded.model), moved(scorer.model)
        assert loaded.heat(0).shape == (256, 256)
        with forced(loaded.model, place, [0, 1], 0.5):
            assert loaded.model.anomaly_score(image[None]).device == GPU
        assert scorer.score(loaded.dataset.test[0].path, map=True).map.shape == (256, 256)


# --- where images stay ---


def test_what_fits_stays_on_the_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 4000))
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")
    assert [place_for(size, cuda) for size in (500, 501)] == [cuda, cpu] and place_for(10**12, cpu) == cpu
    x = torch.zeros(501, dtype=torch.uint8)
    assert resident(x, cuda) is x


@pytest.mark.slow
@pytest.mark.parametrize("attention, trained", [(None, False), ("se", True)])
def test_no_image_is_decoded_in_an_epoch(tiny, monkeypatch, attention, trained):
    reads, real = [], type(tiny.train[0]).read
    monkeypatch.setattr(type(tiny.train[0]), "read", lambda self, *size: reads.append(self.path) or real(self, *size))
    data = replace(tiny, train=tiny.train[:4], test=tiny.test[3:5])
    fit(model_of(attention, trained, FRESH), data, epochs=2, progress=False, watch=watch_test(data))
    assert len(reads) == len(set(reads)) == len(data.train) + len(data.validation) + len(data.test)


# --- planted faults ---


def step(model, data):
    loop_of(model, data).step()


PLANTED = [  # a function that returns a tensor; the model; what calls the function
    ("adnlib.features.downscale", (), lambda model, data: moved(model).features(images())),
    ("adnlib.pooling.pool", ("se", "cutpaste"), lambda model, data: fit(model, data, progress=False)),
    ("adnlib.training.nll", (), step),
    ("adnlib.training.spread", ("se", "guarded"), step),
    ("adnlib.training.nll", (), lambda model, data: loop_of(model, data).end_epoch()),
    ("adnlib.views.turned", (None, False, FRESH), step),
    ("adnlib.engine.feature_sources.after_stem", ("se", True), step),
    ("adnlib.engine.feature_sources.extract", (None, False, FRESH), step),
    ("adnlib.engine.extraction.extract", (), lambda model, data: score(moved(model), data.test)),
    ("adnlib.evaluation.latent_score", (), lambda model, data: score(moved(model), data.test)),
    ("adnlib.differnet.latent_score", (), lambda model, data: moved(model).anomaly_score(images())),
    ("adnlib.differnet.nll", (), lambda model, data: maps.gradient_map(moved(model), images())),
    ("adnlib.differnet.nll", (), lambda model, data: maps.grad_cam(moved(model), images())),
]


@pytest.mark.parametrize("target, arguments, run", PLANTED, ids=[row[0] for row in PLANTED])
def test_a_tensor_on_the_cpu_is_found(tiny, target, arguments, run):
    model, function = model_of(*arguments), pkgutil.resolve_name(target)
    with pretended_gpu(), mock.patch(target, on_the_cpu(function)), pytest.raises(RuntimeError, match=MIXED):
        run(model, tiny)


def test_an_index_on_the_wrong_device_is_found(tiny, monkeypatch):
    monkeypatch.setattr(FrozenFeatures, "batch", lambda self, rows, views: self.y.cpu()[rows.to(GPU), 0])
    model = model_of()
    with pretended_gpu(), pytest.raises(RuntimeError, match=MIXED):
        step(model, tiny)


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).all()),
        lambda x: float(x[0]),
        lambda x: x.cpu(),
        lambda x: torch.zeros(3).copy_(x),
        lambda x: x[torch.tensor([0, 1])],
        lambda x: x.index_put_([torch.tensor([0, 1])], x[:2]),
        lambda x: torch.tensor([1.0, 2.0], device=GPU),
        lambda x: torch.zeros(3).to(GPU),
    ],
)
def test_a_wait_is_found(wait):
    with pretended_gpu() as waits:
        wait(torch.zeros(3, device=GPU))
        assert len(waits) == 1 and "test_device.py" in waits[0]
        torch.zeros(3).to(GPU, non_blocking=True)
        assert len(waits) == 1
