"""The faster precision for AlexNet's features, measured once per machine."""

import functools
import json
import platform
import time
from pathlib import Path

import torch

from adnlib.errors import check_choice
from adnlib.system.files import write_whole
from adnlib.system.folders import home

PRECISIONS = ("auto", "float32", "bfloat16")  # valid option values
WORTH = 1.3  # bfloat16 has 8 significant bits: it is used only if it is this many times faster


def resolve(precision: str, device: torch.device) -> str:
    """The precision for an option value: "float32" or "bfloat16"; "auto" is the faster one on this machine."""
    check_choice("precision", precision, PRECISIONS)
    return best_precision(device.type) if precision == "auto" else precision


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The autocast context for a precision; computation outside the context stays in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bfloat16")


@functools.cache
def best_precision(device: str) -> str:
    """The precision for "auto": "bfloat16" if it makes AlexNet more than WORTH times faster, else "float32".

    device: "cpu" or "cuda". The result is stored in home()/precision.json for each machine and version of torch, so
    that a run can be repeated to the last bit.
    """
    path = home() / "precision.json"
    key = f"{platform.node()}, {device}, torch {torch.__version__}"
    results = _stored_results(path)
    if key not in results:
        seconds = {precision: _seconds(device, precision) for precision in ("float32", "bfloat16")}
        best = "bfloat16" if seconds["float32"] > WORTH * seconds["bfloat16"] else "float32"
        results = {key: best} | _stored_results(path)  # of two simultaneous measurements, the first counts
        write_whole(path, json.dumps(results, indent=1).encode())
    return results[key]


def _stored_results(path: Path) -> dict[str, str]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        return {key: value for key, value in results.items() if value in ("float32", "bfloat16")}
    except (FileNotFoundError, ValueError, AttributeError):  # not measured yet, or damaged
        return {}


@torch.inference_mode()
def _seconds(device: str, precision: str, repeats: int = 5) -> float:
    """The shortest time of a few passes with eight images of 256 px, after two warm-up passes."""
    import torchvision  # slow to import

    with torch.random.fork_rng():
        alexnet = torchvision.models.alexnet().features.to(device, memory_format=torch.channels_last)
    x = torch.zeros(8, 3, 256, 256, device=device).contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            alexnet(x).sum().item()
        times.append(time.perf_counter() - start)
    return min(times[2:])
