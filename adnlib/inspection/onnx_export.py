"""A finished run as one ONNX file, which judges images without PyTorch and without this library.

ONNX (https://onnx.ai) is an open format for networks. The file contains the normalisation, all test views, AlexNet,
attention, flow, score and map, and in its metadata what a verdict needs: threshold and calibration scores. Reading and
resizing the image is left to the caller, and so are the checks and remarks of `Scorer.score`. With onnxruntime alone:

    session = onnxruntime.InferenceSession("run.onnx")
    score, map = session.run(None, {"image": images})  # uint8 (B, 3, S, S) -> float32 (B,), (B, S, S)
    facts = session.get_modelmeta().custom_metadata_map  # strings
    anomalous = score > float(facts["threshold"])

Deviation: the file computes in float32. The scores of a run in bfloat16 differ from it by up to about 0.5 %, so its
threshold and p-values hold only approximately; "calibration_precision" in the metadata tells.
"""

import json
import warnings
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.differnet import DifferNet, latent_score
from adnlib.errors import AdnError
from adnlib.explain.maps import LAYERS, STRIDES, interpolation, module_of
from adnlib.inspection.scoring import Scorer
from adnlib.system.files import scratch_folder, sha256, write_whole
from adnlib.views import View

OPSET = 17  # of ONNX operators; onnxruntime 1.12 and newer know it
LAYER = "conv3"  # of the map: the default of adnlib.explain.maps.deviation_map
LIMIT = 2**31  # bytes of an ONNX file in one piece


def export_onnx(scorer: Scorer, path: Path) -> Path:
    """Writes the run of `scorer` to `path` as an ONNX file, atomically, replacing an older file; returns the path.

    Input: image, uint8 RGB (B, 3, S, S), where S is the preset's image_size and B any number. Outputs, both float32:
    score (B,), as `Scorer.score` gives it, and map (B, S, S), as `deviation_map` gives it unstretched. The map compares
    with training images, so it is left out if the run's data set is not on this machine; the metadata says so.
    The scorer is unchanged, and the same run gives the same bytes with the same versions of torch and onnx.
    AdnError: the package onnx is missing, the model is too large, or it has an operator that ONNX lacks.
    """
    try:
        import onnx
    except ImportError as error:
        raise AdnError(f"An ONNX file needs the package onnx ({error}): pip install onnx.") from error
    facts = _facts(scorer)
    try:
        normal, facts["map_limit"] = scorer.normal, str(scorer.map_limit)
    except AdnError as error:
        normal, facts["map"] = None, f"left out: {error}"
    judge = Judge(scorer.model, normal).eval().requires_grad_(False)
    size = sum(x.nbytes for x in (*judge.state_dict().values(), *judge.places))
    if size > 0.95 * LIMIT:
        raise AdnError(
            f"The model has {size / 2**30:.1f} GiB, an ONNX file holds 2 GiB: train with a smaller flow or fewer views."
        )
    with scratch_folder(path.parent) as scratch:
        trace(judge, scorer.model.preset.image_size, scratch / "traced.onnx")
        graph = onnx.load(scratch / "traced.onnx")
    onnx.helper.set_model_props(graph, facts)
    graph.producer_name, graph.producer_version = "adnlib", facts["adnlib_version"]
    onnx.checker.check_model(graph)
    write_whole(path, graph.SerializeToString(deterministic=True))
    return path


class Judge(nn.Module):
    """uint8 images (B, 3, S, S) -> score (B,) and, if `normal` is given, map (B, S, S), in operators of ONNX."""

    def __init__(self, model: DifferNet, normal: tuple[Tensor, Tensor] | None):
        super().__init__()
        self.model = deepcopy(model).cpu()
        size = model.preset.image_size
        self.views = model.preset.views("test")
        self.places = [_places(view, size) for view in self.views]
        self.normal = normal
        if normal is not None:
            self.down, self.across = (
                interpolation(places, size, STRIDES[LAYERS[LAYER]]) for places in normal[0].shape[1:]
            )

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        pixels = F.pad(image.flatten(2), (1, 0))  # (B, 3, 1 + S^2): a black pixel comes first
        y = []
        for view, places in zip(self.views, self.places, strict=True):
            x = image
            if view != View():
                x = pixels.index_select(2, places)[:, :, None]  # (B, 3, 1, S^2)
                # the view's colours; as x is not square, the view traces no turn by zero degrees, which ONNX lacks
                x = replace(view, angle=0.0, mirror=False)(x).reshape(image.shape)
            y.append(self.model.features(x))
        z = self.model.transform(torch.cat(y))[0].unflatten(0, (len(y), -1))  # (V, B, 768)
        score = latent_score(z.transpose(0, 1))
        return score if self.normal is None else (score, self._map(image, *self.normal))

    def _map(self, image: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
        """`deviation_map` without hooks: (B, 3, S, S) -> (B, S, S)."""
        features = self.model.features
        x, path = features.normalize(image), features.path()
        for module in path[: path.index(module_of(self.model, LAYER)) + 1]:
            x = module(x)
        return self.down @ ((x - mean) / spread).square().mean(dim=1) @ self.across.transpose(0, 1)


def _places(view: View, size: int) -> Tensor:
    """Where each pixel of a view comes from, int32 (S^2,): 0 is black, 1 the image's first pixel, 2 the second, …

    The view itself moves the numbers of the pixels, so any angle is exact. float32 has all numbers up to 4096^2.
    """
    numbers = torch.arange(1, size**2 + 1, dtype=torch.float32).view(1, 1, size, size)
    return replace(view, brightness=1, contrast=1, saturation=1)(numbers).flatten().int()


def trace(judge: Judge, size: int, file: Path, **inputs: Tensor) -> None:
    """Writes the module as an ONNX model, by torch's older exporter: the newer one needs the package onnxscript.

    inputs: examples of what `judge.forward` takes besides the images.
    """
    results = ["score"] + ["map"] * (judge.normal is not None)
    examples = (torch.zeros(2, 3, size, size, dtype=torch.uint8), *inputs.values())
    options = {
        "input_names": ["image", *inputs],
        "output_names": results,
        "dynamic_axes": {name: {0: "B"} for name in ("image", *results)},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about checks of shapes, which are constant here, and about its age
        try:
            torch.onnx.export(judge, examples, str(file), opset_version=OPSET, dynamo=False, **options)
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise AdnError(
                f"The model cannot be written as ONNX ({reason}): score with adnlib.load instead."
            ) from error


def _facts(scorer: Scorer) -> dict[str, str]:
    """The metadata. Numbers are written so that they are read back without loss; lists are JSON."""
    run, preset = scorer.run, scorer.model.preset
    return {
        "image_size": str(preset.image_size),
        "image": "RGB uint8, resized with Pillow's bilinear filter",
        "normalisation": "done inside",
        "precision": "float32",
        "calibration_precision": f"features {preset.precision}, flow {preset.flow_precision}",
        "threshold": repr(scorer.threshold),
        "rate": repr(scorer.rule.rate),
        "calibration_scores": json.dumps(sorted(scorer.calibration["score"].tolist())),
        "run": run.folder.resolve().name,
        "variant": run.variant,
        "run_digest": run.facts.get("digest", ""),  # older runs have none
        "model_sha256": sha256(run.folder / "model.safetensors"),
        "adnlib_version": version("attentdiffernet"),
    }
