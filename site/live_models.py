"""The live page's models and images: three runs as ONNX graphs for one view, with weights of 16 bits, and ten images.

A graph judges one view, so that the page can show a first score after a quarter of the time; the page makes the views
and averages their scores. Its inputs are image, uint8 RGB (1, 3, S, S), and gate, float32 (): a value in [0, 1] takes
the place of every gate, a negative one leaves the attention modules as they are. Its outputs are score (1,) and map
(1, S, S). The weights are in files of their own: AlexNet's, which all graphs share, and those of each variant.
"""

import gzip
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from adnlib import RunConfig
from adnlib.experiments.runs import Run, read_run, train_run
from adnlib.features import PLACEMENTS
from adnlib.imagesets.reading import ANOMALOUS, NORMAL, Sample
from adnlib.inspection.onnx_export import Judge, trace
from adnlib.inspection.scoring import Scorer
from adnlib.system.files import scratch_folder
from adnlib.system.seeds import seeded

VARIANTS = {"plain": None, "se": "se", "cbam": "cbam"}
PRECISE = ("alexnet.0.weight", "alexnet.3.weight")
LARGE = 1024  # values; smaller tensors stay in the graph, in float32
DIGITS = 10  # of a sha256, in file names, so that a cache never shows an older version


class Gated(nn.Module):
    """An attention module whose gates can be replaced by one constant, as by adnlib.attention.controls.ConstantGate."""

    gate: Tensor

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return torch.where(self.gate < 0, self.module(x), self.gate * x)


class LiveJudge(Judge):
    """`Judge` for one view, with the input gate."""

    def __init__(self, scorer: Scorer):
        super().__init__(scorer.model, scorer.normal)
        self.model.preset = replace(self.model.preset, turns="quarter", test_views=1)
        self.views, self.places = self.views[:1], self.places[:1]  # the image itself
        modules = self.model.features.attention
        for layer in PLACEMENTS[scorer.run.config.placement]:
            modules[str(layer)] = Gated(modules[str(layer)] if str(layer) in modules else nn.Identity())

    def forward(self, image: Tensor, gate: Tensor):
        for module in self.model.features.attention.values():
            module.gate = gate
        return super().forward(image)


def live_runs(root: Path, dataset: str, category: str, preset: str = "fast") -> dict[str, Run]:
    """The runs of the page by variant; those that are not under `root` are trained."""
    runs = {}
    for name, attention in VARIANTS.items():
        config = RunConfig(dataset, category, attention, preset=preset)
        folder = root / config.canonical().folder_name
        runs[name] = read_run(folder) if (folder / "parameters.json").exists() else train_run(root, config)
    return runs


def export_live(runs: dict[str, Run], folder: Path, images: int = 5) -> dict:
    """Writes graphs, weights and images of the page into `folder`, and models.json, which describes them; returns the
    description. images: of the normal test images, and as many anomalous ones."""
    folder.mkdir(parents=True, exist_ok=True)
    variants = {name: _export(name, Scorer(run.folder), folder) for name, run in runs.items()}
    first = next(iter(runs.values()))
    about = {
        "size": first.model().preset.image_size,
        "dataset": first.config.dataset.split("/")[-1],
        "category": first.config.category,
        "variants": variants,
        "images": [_image(sample, folder) for sample in chosen(first, images)],
    }
    (folder / "models.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    return about


def _export(name: str, scorer: Scorer, folder: Path) -> dict:
    """Writes one variant; returns its entry of models.json. The calibration scores are computed again in float32,
    in which the page computes."""
    run, preset = scorer.run, scorer.model.preset
    model = scorer.model.float().cpu()
    dataset = run.dataset()
    held_out = dataset.calibration or dataset.validation
    scores = torch.cat([model.anomaly_score(sample.read(preset.image_size)[None]) for sample in held_out]).double()
    with scratch_folder(folder) as scratch, seeded(0):
        trace(LiveJudge(scorer), preset.image_size, scratch / "traced.onnx", gate=torch.tensor(-1.0))
        graph = onnx.load(scratch / "traced.onnx")
    files = _take_out_weights(graph, name, folder)
    views = [[int(view.angle // 90), view.mirror] for view in preset.views("test")]
    return {
        "title": run.variant,
        "run": run.folder.name,
        "digest": run.facts["digest"][:DIGITS],
        "auroc": run.facts["metrics"]["auroc"],
        "graph": packed(folder / f"{name}.onnx", graph.SerializeToString(deterministic=True)),
        "weights": files,
        "views": views,
        "calibration": sorted(scores.tolist()),
        "mapLimit": scorer.map_limit,
        "note": scorer.note,
        "placement": run.config.placement,
    }


def _take_out_weights(graph: onnx.ModelProto, variant: str, folder: Path) -> dict[str, str]:
    """Moves the large float tensors of the graph into files; returns {name in the graph: file}.

    Each row w of a tensor (its first axis) is stored as 16-bit integers round(w / s), with s = max |w| / 32767, and the
    graph multiplies by s when it is loaded, so it computes in float32. This takes as much space as float16 with a
    quarter of its error. AlexNet's first convolutions, on which the scores depend most, stay in float32.
    """
    content, nodes = {"alexnet": b"", variant: b""}, []
    for tensor in _large_tensors(graph):
        w, name = numpy_helper.to_array(tensor), tensor.name
        part = "alexnet" if "alexnet" in name else variant
        if name.endswith(PRECISE):
            kind, stored = TensorProto.FLOAT, name
            data = w.astype("<f4").tobytes()
        else:
            kind, stored = TensorProto.INT16, f"{name}.whole"
            s = np.abs(w).max(axis=tuple(range(1, w.ndim)), keepdims=True).clip(1e-30) / 32767
            data = np.round(w / s).astype("<i2").tobytes()
            graph.graph.initializer.append(numpy_helper.from_array(s.astype(np.float32), f"{name}.scale"))
            nodes.append(helper.make_node("Cast", [stored], [f"{name}.float"], to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [f"{name}.float", f"{name}.scale"], [name]))
        tensor.CopyFrom(TensorProto(name=stored, data_type=kind, dims=w.shape, data_location=TensorProto.EXTERNAL))
        for key, value in (("location", part), ("offset", len(content[part])), ("length", len(data))):
            tensor.external_data.add(key=key, value=str(value))
        content[part] += data
    nodes.extend(graph.graph.node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return {part: packed(folder / f"{part}.weights", data) for part, data in content.items()}


def _large_tensors(graph: onnx.ModelProto) -> list[TensorProto]:
    """The large float32 tensors of the graph, all of them initializers."""
    for node in [node for node in graph.graph.node if node.op_type == "Constant"]:
        tensor = node.attribute[0].t
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= LARGE:
            graph.graph.initializer.add().CopyFrom(tensor)
            graph.graph.initializer[-1].name = node.output[0]
            graph.graph.node.remove(node)
    return [x for x in graph.graph.initializer if x.data_type == TensorProto.FLOAT and np.prod(x.dims) >= LARGE]


def packed(path: Path, data: bytes) -> str:
    """Writes data as a gzip file whose name has the first digits of the data's sha256; returns the name."""
    digest = hashlib.sha256(data).hexdigest()[:DIGITS]
    path = path.with_name(f"{path.stem}.{digest}{path.suffix}.gz")
    path.write_bytes(gzip.compress(data, 9, mtime=0))
    return path.name


def chosen(run: Run, count: int) -> list[Sample]:
    """`count` normal test images, evenly spaced, and `count` anomalous ones, of as many kinds as there are."""
    test = run.dataset().test
    normal = [sample for sample in test if sample.label == NORMAL]
    kinds: dict[str, list[Sample]] = {}
    for sample in test:
        if sample.label == ANOMALOUS:
            kinds.setdefault(sample.defect, []).append(sample)
    places = np.linspace(0, len(normal) - 1, min(count, len(normal))).astype(int)
    turns = [samples[k] for k in range(count) for samples in kinds.values() if k < len(samples)]
    return [*(normal[place] for place in places), *turns[:count]]


def _image(sample: Sample, folder: Path) -> dict:
    """Writes a test image as a PNG file, which every browser decodes to the same pixels, and a small copy."""
    label = "normal" if sample.label == NORMAL else sample.defect.replace("_", " ")
    name = f"{sample.defect}-{sample.path.stem}"
    picture = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
    picture.save(folder / f"{name}.png", optimize=True)
    picture.resize((96, 96), Image.Resampling.LANCZOS).save(folder / f"{name}-small.jpg", quality=80)
    return {"name": name, "label": label, "path": f"test/{sample.defect}/{sample.path.name}"}
