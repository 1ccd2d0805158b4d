"""What is installed, what this machine can do, and what is slow, for `adn doctor`."""

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from adnlib.errors import AdnError
from adnlib.features import MultiScaleAlexNet
from adnlib.imagesets.registry import registry
from adnlib.imagesets.sources import present_dataset
from adnlib.inspection.estimate import cores, fastest
from adnlib.inspection.gpu import largest_batch, matrix_rate
from adnlib.models.weights import imagenet_weights
from adnlib.presets import PRESETS
from adnlib.system.files import scratch_folder
from adnlib.system.folders import home
from adnlib.system.precision import autocast, best_precision

PACKAGES = ("torch", "torchvision", "FrEIA", "numpy", "jupyterlab", "papermill", "ipywidgets", "grad-cam")
SLOW_MS = 100.0  # per image and view at 256 px
FREE_GB = 5

Finding = tuple[str, str, str]  # what, its state, the problem and its remedy ("" if there is none)


def examine() -> Iterator[Finding]:
    """Everything that is worth knowing before an error is reported, cheapest first."""
    yield "Python", f"{platform.python_version()} on {platform.platform()}", ""
    for name in PACKAGES:
        try:
            yield "package", f"{name} {version(name)}", ""
        except PackageNotFoundError:
            yield "package", f"{name} is missing", "run `make setup`"
    memory = psutil.virtual_memory()
    free = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
    yield "memory", free, "close other programs: training needs about 2 GiB" if memory.available < 2 * 2**30 else ""
    yield from _folder()
    for name, entry in registry().items():
        if "categories" in entry:
            try:
                state, problem = ("installed" if present_dataset(name) else "not installed"), ""
            except AdnError as error:
                state, problem = "damaged", str(error)
            yield "data set", f"{name}: {state}", problem
    try:
        imagenet_weights("alexnet")
        yield "weights", "AlexNet: installed, sha256 verified", ""
    except AdnError as error:
        yield "weights", "AlexNet: missing", str(error)
    yield from _processor()
    yield from _gpu()


def _folder() -> Iterator[Finding]:
    folder = home()
    try:
        with scratch_folder(folder):
            free = shutil.disk_usage(folder).free / 1e9
    except AdnError as error:
        yield "cache", str(folder), str(error)
        return
    problem = f"free some space: the cache takes up to {FREE_GB * 2} GB" if free < FREE_GB else ""
    yield "cache", f"{folder}, {free:.0f} GB free", problem


def _processor() -> Iterator[Finding]:
    capability = torch.backends.cpu.get_cpu_capability()
    amx = "AMX" if _has_flag("amx_bf16") else "no AMX"
    yield "processor", f"{cores()} cores, {capability}, {amx}, {torch.get_num_threads()} threads", ""
    features = MultiScaleAlexNet(weights="random")
    images = torch.zeros(8, 3, 256, 256, dtype=torch.uint8)
    precision = best_precision("cpu")
    with torch.inference_mode(), autocast(precision, torch.device("cpu")):
        ms = 1000 * fastest(lambda: features(images)) / len(images)
    problem = ""
    if ms > SLOW_MS:
        load = psutil.cpu_percent(0.2)
        problem = (
            f"slow: {load:.0f} % of the processor are in use by other programs" if load > 50 else "a slow processor"
        )
    yield "speed", f"{ms:.0f} ms per image and view at 256 px in {precision}, the faster precision here", problem


def _has_flag(name: str) -> bool:
    path = Path("/proc/cpuinfo")
    return path.exists() and name in path.read_text(encoding="utf-8", errors="replace")


def _gpu() -> Iterator[Finding]:
    if not torch.cuda.is_available():
        yield "GPU", "none that PyTorch can use: training runs on the processor", ""
        return
    for number in range(torch.cuda.device_count()):
        found, (free, _) = torch.cuda.get_device_properties(number), torch.cuda.mem_get_info(number)
        rate = matrix_rate(torch.device("cuda", number)) / 1e12
        memory = f"{free / 2**30:.0f} of {found.total_memory / 2**30:.0f} GiB free"
        yield "GPU", f"{found.name}, {memory}, {rate:.0f} TFLOP/s in bfloat16", ""
        for preset in (PRESETS["fast"], PRESETS["paper"]):
            most = largest_batch(preset, free)
            what = f"preset {preset.name}: up to {most} images in a batch fit, it uses {preset.batch_images}"
            problem = "free some of the GPU's memory, or lower batch_images" if most < preset.batch_images else ""
            yield "GPU", what, problem
