import re
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import torch

from adnlib import PRESETS, DifferNet
from adnlib.inspection import doctor
from adnlib.inspection.gpu import COPIES, largest_batch, matrix_rate, training_bytes

SMOKE = PRESETS["smoke"]


def test_the_memory_of_a_training_is_that_of_its_tensors():
    fixed, each = training_bytes(SMOKE)
    model = DifferNet(preset=SMOKE, weights="random")
    assert fixed == 4 * COPIES * model.parameter_counts()["flow"]
    assert training_bytes(replace(SMOKE, train_views=3, view_pool=3)) == (fixed, 3 * each)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        model.flow(torch.randn(1, 768))
    weights = {p.data_ptr() for p in model.flow.parameters()}
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in saved}
    assert each == sum(size for at, size in storages.items() if at not in weights)


def test_a_batch_that_fits():
    fixed, each = training_bytes(SMOKE)
    free = 2**29 + fixed + 10 * each
    assert [largest_batch(SMOKE, size) for size in (free, free - 1, 0)] == [10, 9, 0]


def test_the_doctor_describes_a_gpu(monkeypatch):
    assert list(doctor._gpu()) == [("GPU", "none that PyTorch can use: training runs on the processor", "")]
    pretended = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "get_device_properties": lambda number: SimpleNamespace(name="A GPU", total_memory=80 * 2**30),
        "mem_get_info": lambda number: (free, 80 * 2**30),
    }
    for name, value in pretended.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.random, "fork_rng", lambda **_: nullcontext())
    monkeypatch.setattr(doctor, "matrix_rate", lambda device: 6e14)
    free = 78 * 2**30
    (_, what, _), *presets = doctor._gpu()
    assert what == "A GPU, 78 of 80 GiB free, 600 TFLOP/s in bfloat16"
    sizes = [int(re.search(r"up to (\d+) images", text)[1]) for _, text, _ in presets]
    assert sizes[0] > sizes[1] > 24 and [problem for *_, problem in presets] == ["", ""]
    free = 2**30
    assert [bool(problem) for *_, problem in doctor._gpu()] == [False, False, True]


def test_a_rate_is_measured():
    assert matrix_rate(torch.device("cpu"), side=32, products=1) > 0
