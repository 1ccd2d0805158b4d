"""Which precision computes AlexNet's features fastest: measured once on each machine, never guessed by a name."""

import functools
import json
import platform
import time
from contextlib import suppress
from pathlib import Path

import torch
import torchvision

from adnlib.errors import check_choice
from adnlib.system.files import write_whole
from adnlib.system.folders import home

PRECISIONS = ("auto", "float32", "bfloat16")  # what may be asked for
WORTH = 1.3  # bfloat16 has 8 significant bits: it must be this much faster to be taken


def resolve(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16"; "auto" becomes the faster one on this machine."""
    check_choice("precision", precision, PRECISIONS)
    return best_precision(device.type) if precision == "auto" else precision


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which convolutions compute with that precision; everything outside it stays float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bfloat16")


@functools.cache
def best_precision(device: str) -> str:
    """ "bfloat16" where AlexNet runs at least WORTH times faster with it on "cpu" or "cuda", else "float32".

    The answer is kept in home()/precision.json by machine and version of torch, so that a run repeats to the last bit.
    """
    path = home() / "precision.json"
    key = f"{platform.node()}, {device}, torch {torch.__version__}"
    known = _known(path)
    if key not in known:
        seconds = {precision: _seconds(device, precision) for precision in ("float32", "bfloat16")}
        best = "bfloat16" if seconds["float32"] > WORTH * seconds["bfloat16"] else "float32"
        known = {key: best} | _known(path)  # of two processes that measure at once, the first one's answer holds
        write_whole(path, json.dumps(known, indent=1).encode())
    return known[key]


def _known(path: Path) -> dict[str, str]:
    with suppress(FileNotFoundError, ValueError):  # not measured yet, or damaged
        return json.loads(path.read_text(encoding="utf-8"))
    return {}


@torch.inference_mode()
def _seconds(device: str, precision: str, repeats: int = 5) -> float:
    """The shortest of a few passes of eight images of 256 px, after two to warm up."""
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
