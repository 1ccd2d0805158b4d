"""The data files of the lessons' live figures, each checked against the numbers that the executed notebook printed."""

import ast
import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import papermill
import torch
from nbformat import NotebookNode
from PIL import Image
from sklearn.datasets import make_circles, make_moons
from torch import nn

import adnlib
from adnlib.errors import AdnError
from adnlib.experiments.runs import read_run
from adnlib.features import MultiScaleAlexNet
from adnlib.flow import nll
from adnlib.imagesets.reading import ANOMALOUS
from adnlib.lessons.normalizing_flows import couple

# Figure: its page, and the heading before which it is shown.
PLACES = {
    "flow": ("04_normalizing_flows", "## Why the loss can be negative"),
    "gate": ("02_squeeze_and_excitation", "### Move it"),
    "threshold": ("07_train_none", "## The run"),
}


def write_figures(folder: Path, executed: dict[str, Path], runs: Path) -> dict[str, str]:
    """Writes the data of each figure whose notebook was executed into `folder`; returns {page: figure}.

    AdnError if the data and the notebook's output differ: the page would contradict the lesson.
    """
    made = {}
    for name, (page, _) in PLACES.items():
        if page in executed and (data := FIGURES[name](executed[page], runs)):
            (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
            made[page] = name
    return made


def packed(values) -> str:
    """Numbers as base64 of little-endian float32."""
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def parameters(notebook: Path) -> dict:
    """The values of the notebook's parameters."""
    return {name: ast.literal_eval(p["default"]) for name, p in papermill.inspect_notebook(str(notebook)).items()}


def printed(notebook: Path, pattern: str) -> tuple[str, ...]:
    """What the groups of a pattern match in the text that the notebook printed; AdnError if it is not there."""
    content: NotebookNode = nbformat.read(notebook, as_version=4)
    outputs = [output for cell in content.cells for output in cell.get("outputs", [])]
    text = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    if not (found := re.search(pattern, text)):
        raise AdnError(f"{notebook.name} has no output like {pattern!r}: execute it, or correct its live figure.")
    return found.groups()


def flow_data(notebook: Path, runs: Path) -> dict:
    """Lesson 04: points, initial weights and settings of the flow in the plane."""
    p = parameters(notebook)
    before, after = printed(notebook, r"held-out NLL: (-?[\d.]+) before training, (-?[\d.]+) after")
    make = {"moons": make_moons, "rings": make_circles}[p["toy"]]
    options = {"factor": 0.4} if p["toy"] == "rings" else {}
    points = torch.tensor(make(4000, noise=0.06, random_state=p["seed"], **options)[0], dtype=torch.float32)
    train, held_out = points[:3000], points[3000:]
    mean, std = train.mean(dim=0), train.std(dim=0)
    train, held_out = (train - mean) / std, (held_out - mean) / std
    torch.manual_seed(p["seed"])
    subnets = [_subnet(p["hidden"]) for _ in range(2 * p["blocks"])]  # of each block: subnet1, subnet2
    with torch.no_grad():
        z, log_det = held_out, torch.zeros(len(held_out))
        for first, second in zip(subnets[::2], subnets[1::2], strict=True):
            z, more = couple(z.flip(1), first, second, p["clamp"])
            log_det = log_det + more
        _agree(notebook, "NLL before training", nll(z, log_det).mean().item(), before)
    weights = torch.cat([x.detach().flatten() for subnet in subnets for x in subnet.parameters()])
    settings = {name: p[name] for name in ("blocks", "hidden", "clamp", "steps", "seed")}
    points = {"train": packed(train.flatten()), "held_out": packed(held_out.flatten())}
    return {**settings, **points, "weights": packed(weights), "before": before, "after": after}


def _subnet(hidden: int) -> nn.Sequential:
    """The lesson's sub-network."""
    steps = [nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*steps, nn.Linear(hidden, 2))


def gate_data(notebook: Path, runs: Path) -> dict:
    """Lesson 02: the maps after pool2 of its two images, and the weights of its untrained block."""
    p = parameters(notebook)
    (top,) = printed(notebook, r"channels that differ most: (\[[\d, ]+\])")
    dataset = adnlib.load_dataset(p["dataset"], p["category"])
    samples = {"normal": dataset.train[0], "anomalous": next(s for s in dataset.test if s.label == ANOMALOUS)}
    alexnet = MultiScaleAlexNet(weights=p["weights"])
    images = []
    for title, sample in samples.items():
        with torch.no_grad():
            maps = alexnet.alexnet[:6](alexnet.normalize(sample.read(256)[None]))[0]  # (C, h, w)
        buffer = io.BytesIO()
        Image.fromarray(sample.read(160).permute(1, 2, 0).numpy()).save(buffer, "jpeg", quality=85)
        picture = base64.b64encode(buffer.getvalue()).decode()
        images.append({"title": title, "maps": packed(maps.flatten()), "picture": picture})
    torch.manual_seed(p["seed"])
    block = adnlib.SqueezeExcitation(len(maps), p["reduction"])
    layers = {"w1": block.w1.weight, "b1": block.w1.bias, "w2": block.w2.weight, "b2": block.w2.bias}
    weights = {name: packed(x.detach().flatten()) for name, x in layers.items()}
    return {"channels": len(maps), "top": json.loads(top), "images": images, **weights}


def threshold_data(notebook: Path, runs: Path) -> dict | None:
    """07_train: test scores and threshold of its run; None if the run is not on this machine."""
    p = parameters(notebook)
    folder = runs / adnlib.RunConfig(p["dataset"], p["category"], p["attention"]).canonical().folder_name
    if not (folder / "parameters.json").exists():
        return None
    run = read_run(folder)
    threshold = run.facts["metrics"]["threshold"]
    _agree(notebook, "threshold", threshold, printed(notebook, r"Threshold (-?[\d.]+(?:e[+-]?\d+)?)[ :]")[0])
    scores = {
        label: run.test.loc[run.test["label"] == k, "score"].tolist() for k, label in enumerate(("normal", "anomalous"))
    }
    return {**scores, "threshold": threshold}


def _agree(notebook: Path, what: str, value: float, text: str) -> None:
    """AdnError unless the value rounds to the printed text."""
    digits = len(text.partition(".")[2])
    if abs(value - float(text)) > 0.6 * 10.0**-digits:
        raise AdnError(f"{notebook.name} printed {what} {text}, its live figure has {value:.6g}: correct the figure.")


FIGURES: dict[str, Callable[[Path, Path], dict | None]] = {
    "flow": flow_data,
    "gate": gate_data,
    "threshold": threshold_data,
}
