"""DifferNet and AttentDifferNet with the interface of the other detectors."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from adnlib.datasets import Dataset, Split
from adnlib.detectors.base import CHUNK, Detector
from adnlib.differnet import DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.imagesets.reading import NORMAL, Sample
from adnlib.presets import PRESETS
from adnlib.training import fit

HELD_OUT = 0.15  # share of the training images that is used to choose the epoch


class DifferNetDetector(Detector):
    """adnlib.DifferNet with the interface of the other detectors; see its docstring for the paper and the deviations.

    It has no anomaly map. Its features are AlexNet's at three scales, and the attention modules are placed as in
    AttentDifferNet. A random part of the training images is held out to choose the epoch.
    Options: those of adnlib.DifferNet; epochs (default: the preset's).
    """

    title = "DifferNet"

    def __init__(self, model: DifferNet, image_size: int = 256, seed: int = 0, *, epochs: int | None = None):
        super().__init__(nn.Identity(), image_size, seed)
        self.model, self.epochs = model, epochs

    @classmethod
    def build(
        cls,
        backbone: str,
        attention: str | None,
        image_size: int,
        seed: int,
        backbone_options: dict,
        *,
        preset: str = "fast",
        epochs: int | None = None,
        **options,
    ) -> "DifferNetDetector":
        if backbone != "alexnet":
            raise AdnError(
                f"backbone={backbone!r} does not work with differnet, which uses AlexNet's features at three scales: "
                "choose 'alexnet'."
            )
        check_choice("preset", preset, PRESETS)
        sized = replace(PRESETS[preset], image_size=image_size)
        model = DifferNet(attention, preset=sized, seed=seed, **backbone_options, **options)
        return cls(model, image_size, seed, epochs=epochs)

    def fit(self, train: Split | Tensor) -> "DifferNetDetector":
        self._check_untrained()
        if not isinstance(train, Split):  # the training needs files, because its cache is keyed by them
            with tempfile.TemporaryDirectory(prefix="adn-") as folder:
                return self.fit(_write(self._images(train), Path(folder)))
        if len(train) < 2:
            raise AdnError(f"There are {len(train)} training images: pass two or more.")
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed)).tolist()
        held = max(1, round(HELD_OUT * len(train)))
        shown, held_out = (Split(tuple(train[i] for i in sorted(rows))) for rows in (order[held:], order[:held]))
        device = self.fitted.device.type
        fit(
            self.model,
            Dataset("peers", "peers", shown, held_out, Split(())),
            seed=self.seed,
            epochs=self.epochs,
            device=device,
            progress=False,
        )
        self.fitted.fill_(True)
        return self.eval()

    @torch.inference_mode()
    def predict(self, images: Split | Tensor) -> tuple[Tensor, None]:
        if not self.fitted:
            raise AdnError("This DifferNetDetector has learned nothing yet: call fit with normal images first.")
        chunks = self._images(images).split(CHUNK)
        return torch.cat([self.model.anomaly_score(x.to(self.fitted.device)) for x in chunks]).cpu(), None

    def learned(self) -> dict[str, Tensor]:
        return {name: x for name, x in self.state_dict().items() if not name.startswith("model.features.alexnet.")}


def _write(images: Tensor, folder: Path) -> Split:
    """Writes images uint8 (N, 3, S, S) as lossless files."""
    samples = []
    for index, image in enumerate(images):
        path = folder / f"{index:06d}.png"
        Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(path)
        samples.append(Sample(path, NORMAL, "good"))
    return Split(tuple(samples))
