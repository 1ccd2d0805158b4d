"""DifferNet, PaDiM and PatchCore of this project against anomalib's PaDiM and PatchCore, in one run on one CPU.

    .venv/bin/python benchmarks/detectors.py --data ../shared/data --category mvtec_bottle

All use the same decoded images and the same AlexNet. anomalib's torch models are called as in its training loop, but
without Lightning and its data loaders. Times are CPU seconds, summed over all cores, from images in memory to a fitted
detector, and from images in memory to scores and maps.
"""

import argparse
import platform
import time
import warnings
from dataclasses import replace
from pathlib import Path

import torch
import torchvision
from official import processor
from scipy.stats import spearmanr
from torch import Tensor

import adnlib
from adnlib.detectors import build_detector
from adnlib.detectors.base import CHUNK
from adnlib.detectors.measure import evenly
from adnlib.evaluation import auroc
from adnlib.models.normalize import IMAGENET_MEAN, IMAGENET_STD
from adnlib.models.weights import alexnet_weights

warnings.filterwarnings("ignore", category=FutureWarning)  # from anomalib's imports

from anomalib import __version__ as anomalib_version  # noqa: E402
from anomalib.models.image.padim.torch_model import PadimModel  # noqa: E402
from anomalib.models.image.patchcore.torch_model import PatchcoreModel  # noqa: E402

LAYERS = ["2", "5", "11"]  # of AlexNet, the stages of Backbone("alexnet")


class Theirs:
    """A torch model of anomalib with the methods `fit` and `score`."""

    def __init__(self, model: torch.nn.Module, finish):
        self.model, self.finish = model, finish

    def fit(self, images: Tensor) -> None:
        self.model.train()
        self._each(images)
        self.finish(self.model)
        self.model.eval()

    def score(self, images: Tensor) -> Tensor:
        return torch.cat([out.pred_score.flatten() for out in self._each(images)])

    @torch.no_grad()
    def _each(self, images: Tensor) -> list:
        mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]).view(2, 3, 1, 1)
        return [self.model((chunk.float() / 255 - mean) / std) for chunk in images.split(CHUNK)]


def alexnet() -> torch.nn.Module:
    net = torchvision.models.alexnet().features
    net.load_state_dict(alexnet_weights())
    return net.eval()


def timed(work) -> tuple[float, object]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of categories")
    parser.add_argument("--category", default="mvtec_bottle")
    parser.add_argument("--size", type=int, default=256, help="px")
    parser.add_argument("--images", type=int, default=60, help="training images at most")
    parser.add_argument("--coreset", type=float, default=0.01, help="share of the patches that PatchCore keeps")
    arguments = parser.parse_args()
    size = arguments.size
    dataset = adnlib.load_dataset(f"folder:{arguments.data}", arguments.category)
    dataset = replace(dataset, train=evenly(dataset.train, arguments.images))
    train, test, labels = dataset.train.images(size), dataset.test.images(size), dataset.test.labels
    print(f"{processor()}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()};")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, anomalib {anomalib_version};")
    print(f"{arguments.category}: {len(train)} training and {len(test)} test images of {size} px, AlexNet\n")

    padim = PadimModel(alexnet(), LAYERS, n_features=100)
    patchcore = PatchcoreModel(LAYERS, alexnet())
    ours = build_detector("padim", image_size=size, epsilon=0.01 + 1e-5)
    ours.picked = padim.idx  # the same channels
    detectors = {
        "PaDiM": (Theirs(padim, lambda model: model.fit()), ours),
        "PatchCore": (
            Theirs(patchcore, lambda model: model.subsample_embedding(arguments.coreset)),
            build_detector("patchcore", image_size=size, coreset=arguments.coreset),
        ),
        "DifferNet (fast)": (None, build_detector("differnet", image_size=size)),
    }
    print("| detector | code | fit (s) | anomalib / ours | images scored per second | ours / anomalib | AUROC |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    scores, costs = {}, {}
    for name, pair in detectors.items():
        row = {}
        for code, detector in zip(("anomalib", "ours"), pair, strict=True):
            if detector is None:
                continue
            fit_s, _ = timed(lambda detector=detector: detector.fit(train))
            score_s, test_scores = timed(lambda detector=detector: detector.score(test))
            scores[name, code] = test_scores = test_scores.double().numpy()
            row[code] = costs[name, code] = fit_s, len(test) / score_s
            ratios = ("", "")
            if code == "ours" and "anomalib" in row:
                theirs = row["anomalib"]
                ratios = (f"{theirs[0] / fit_s:.2f}", f"{row[code][1] / theirs[1]:.2f}")
            value = auroc(test_scores[labels == 0], test_scores[labels == 1])
            print(f"| {name} | {code} | {fit_s:.1f} | {ratios[0]} | {row[code][1]:.1f} | {ratios[1]} | {value:.3f} |")
    own = costs["DifferNet (fast)", "ours"]
    for name in ("PaDiM", "PatchCore"):
        fit_s, rate = costs[name, "anomalib"]
        print(
            f"\nanomalib's {name} / DifferNet (fast): fit {fit_s / own[0]:.2f}, images per second {rate / own[1]:.2f}"
        )
        rank = spearmanr(scores[name, "anomalib"], scores[name, "ours"]).statistic
        print(f"{name}: rank correlation of the two codes' scores {rank:.4f}")


if __name__ == "__main__":
    main()
