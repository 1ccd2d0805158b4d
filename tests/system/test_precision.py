import json

import pytest
import torch

import adnlib.system.precision as speed
from adnlib import AdnError


@pytest.fixture
def seconds(monkeypatch, empty_home):
    times = {"float32": 1.0, "bfloat16": 0.5}
    monkeypatch.setattr(speed, "_seconds", lambda device, precision: times[precision])
    speed.best_precision.cache_clear()
    yield times
    speed.best_precision.cache_clear()


@pytest.mark.parametrize("bfloat16, best", [(0.5, "bfloat16"), (0.9, "float32"), (2.0, "float32")])
def test_the_faster_one_is_taken_if_it_is_worth_it(seconds, bfloat16, best):
    seconds["bfloat16"] = bfloat16
    assert speed.resolve("auto", torch.device("cpu")) == best


def test_it_is_measured_once_and_kept(seconds, empty_home):
    assert speed.best_precision("cpu") == "bfloat16"
    seconds["bfloat16"] = 5.0
    speed.best_precision.cache_clear()
    assert speed.best_precision("cpu") == "bfloat16"
    assert list(json.loads((empty_home / "precision.json").read_text()).values()) == ["bfloat16"]


@pytest.mark.parametrize("damaged", ["", "{", "[]", '{KEY: "bfloat17"}', '{KEY: "auto"}', "{KEY: null}"])
def test_a_damaged_file_is_measured_anew(seconds, empty_home, damaged):
    speed.best_precision("cpu")
    path = empty_home / "precision.json"
    [key] = json.loads(path.read_text())
    path.write_text(damaged.replace("KEY", json.dumps(key)))
    speed.best_precision.cache_clear()
    assert speed.best_precision("cpu") == "bfloat16"


def test_of_two_processes_the_first_answer_holds(seconds, empty_home, monkeypatch):
    measured = speed._seconds

    def other_process_is_quicker(device, precision):
        monkeypatch.setattr(speed, "_seconds", measured)
        seconds["bfloat16"] = 5.0
        assert speed.best_precision.__wrapped__(device) == "float32"
        seconds["bfloat16"] = 0.5
        return measured(device, precision)

    monkeypatch.setattr(speed, "_seconds", other_process_is_quicker)
    assert speed.best_precision("cpu") == "float32"


def test_what_is_asked_for_is_not_measured(seconds, empty_home):
    for precision in ("float32", "bfloat16"):
        assert speed.resolve(precision, torch.device("cpu")) == precision
    assert not empty_home.exists()
    with pytest.raises(AdnError, match="precision='float16' is not known"):
        speed.resolve("float16", torch.device("cpu"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.slow
def test_a_real_measurement(precision):
    assert speed._seconds("cpu", precision, repeats=1) > 0


def test_features_of_both_precisions_rank_images_alike(tiny):
    from dataclasses import replace

    from adnlib import PRESETS, DifferNet
    from adnlib.engine.extraction import extract

    images, views = tiny.test.images(256), PRESETS["smoke"].views("test")
    y = {}
    for precision in ("float32", "bfloat16"):
        model = DifferNet(preset=replace(PRESETS["smoke"], precision=precision))
        y[precision] = extract(model, images, views).flatten()
        assert y[precision].dtype == torch.float32
    assert torch.corrcoef(torch.stack(list(y.values())))[0, 1] > 0.9999
    assert not torch.equal(y["float32"], y["bfloat16"])
