"""DifferNet and the detectors of other papers, one file each, with a common interface.

    detector = build_detector("padim", backbone="vgg16", attention="se").fit(dataset.train)
    detector.score(dataset.test)  # (N,)
    detector.map(dataset.test)  # (N, S, S), or None
    detector.save("padim.safetensors"); load_detector("padim.safetensors")

Lesson: notebooks/11_peers.
"""

from pathlib import Path

from adnlib.detectors.base import Detector, read_saved
from adnlib.detectors.cflow import CFLOW
from adnlib.detectors.csflow import CSFlow
from adnlib.detectors.differnet import DifferNetDetector
from adnlib.detectors.fastflow import FastFlow
from adnlib.detectors.nearest_patches import NearestPatches
from adnlib.detectors.padim import PaDiM
from adnlib.detectors.patchcore import PatchCore
from adnlib.detectors.reverse_distillation import ReverseDistillation
from adnlib.detectors.spade import SPADE
from adnlib.errors import AdnError, check_choice

DETECTORS = {
    "differnet": DifferNetDetector,
    "nearest_patches": NearestPatches,
    "spade": SPADE,
    "padim": PaDiM,
    "patchcore": PatchCore,
    "cflow": CFLOW,
    "fastflow": FastFlow,
    "csflow": CSFlow,
    "reverse_distillation": ReverseDistillation,
}


def build_detector(
    name: str,
    backbone: str = "alexnet",
    attention: str | None = None,
    image_size: int = 256,
    seed: int = 0,
    *,
    backbone_options: dict | None = None,
    **options,
) -> Detector:
    """An unfitted detector by its short name.

    name: a key of DETECTORS. backbone, attention: as in adnlib.models.backbones.Backbone; an attention module follows
    each stage, with random weights that are not trained. image_size: side in px. seed: for all random numbers.
    backbone_options: further options of the backbone (weights, stages) or its attention (reduction, …).
    options: those of the method, see its class.
    """
    check_choice("detector", name, DETECTORS)
    given = dict(
        name=name,
        backbone=backbone,
        attention=attention,
        image_size=image_size,
        seed=seed,
        backbone_options=backbone_options or {},
        **options,
    )
    try:
        detector = DETECTORS[name].build(backbone, attention, image_size, seed, backbone_options or {}, **options)
    except TypeError as error:
        raise AdnError(f"detector={name!r} does not take the options {sorted(options)} ({error}).") from error
    detector.built_by = given
    return detector


def load_detector(path: Path | str) -> Detector:
    """The fitted detector that `Detector.save` wrote. The weights of its backbone are loaded as in `build_detector`."""
    arguments, tensors = read_saved(path)
    detector = build_detector(**arguments)
    detector.load_learned(tensors)
    return detector
