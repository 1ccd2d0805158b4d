"""AlexNet's features at three scales, with attention between the convolutions where it is asked for."""

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from adnlib.attention import build_attention
from adnlib.errors import AdnError, check_choice
from adnlib.seeds import seeded
from adnlib.weights import WEIGHTS, alexnet_weights

# Behind which layers of torchvision's alexnet().features the three attention modules stand: index -> channels.
# The layers: conv1 0, ReLU 1, pool1 2, conv2 3, ReLU 4, pool2 5, conv3 6, ReLU 7, conv4 8, ReLU 9, conv5 10, ReLU 11,
# pool5 12.
PLACEMENTS = {
    "figure": {2: 64, 5: 192, 11: 256},  # after pool1, pool2, conv5 (and its ReLU): the official page's figure
    "before-pool": {1: 64, 4: 192, 11: 256},  # after ReLU1, ReLU2, ReLU5: the code from the authors' laboratory
    "after-pool5": {2: 64, 5: 192, 12: 256},  # after pool1, pool2, pool5: a public third-party code
}
SCALES = 3  # full size, half, quarter
MIN_SIZE = 63 * 2 ** (SCALES - 1)  # px; AlexNet's last pool has nothing left below 63
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MultiScaleAlexNet(nn.Module):
    """DifferNet's feature extractor (Rudolph, Wandt, Rosenhahn, WACV 2021, https://arxiv.org/abs/2008.12577, sec. 3).

    AlexNet's convolutions, frozen, applied to the image at full, half and quarter size (nearest neighbour); the mean
    over space of each, concatenated. `attention` puts a module behind each of three layers, as AttentDifferNet does
    (https://arxiv.org/abs/2311.02747); the same modules serve all scales.

    attention: None or a key of adnlib.attention.ATTENTION; placement: a key of PLACEMENTS; weights: "imagenet" or
    "random"; seed: of the attention's (and random weights') start; options: the attention's own, see adnlib.attention.
    """

    def __init__(
        self,
        attention: str | None = None,
        placement: str = "figure",
        weights: str = "imagenet",
        seed: int = 0,
        **options,
    ):
        super().__init__()
        check_choice("placement", placement, PLACEMENTS)
        check_choice("weights", weights, WEIGHTS)
        with seeded(seed):
            self.attention = nn.ModuleDict()
            if attention is not None:
                for layer, channels in PLACEMENTS[placement].items():
                    self.attention[str(layer)] = build_attention(attention, channels, **options)
            elif options:
                raise AdnError(f"The options {sorted(options)} belong to an attention module: choose attention too.")
            if weights == "random":
                self.alexnet = torchvision.models.alexnet().features
            else:
                with torch.device("meta"):  # no time spent on a random start that is overwritten
                    self.alexnet = torchvision.models.alexnet().features
                self.alexnet.load_state_dict(alexnet_weights(), assign=True)
        self.alexnet.requires_grad_(False).to(memory_format=torch.channels_last)  # faster, same values
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def normalize(self, images: Tensor) -> Tensor:
        """uint8 RGB, or float in [0, 1], (B, 3, H, W) -> float with ImageNet's mean and standard deviation."""
        if images.ndim != 4 or images.shape[1] != 3:
            raise AdnError(f"Images have the shape {tuple(images.shape)}: make it (B, 3, H, W), in RGB.")
        if min(images.shape[-2:]) < MIN_SIZE:
            raise AdnError(
                f"Images of {images.shape[-2]} x {images.shape[-1]} px are too small for {SCALES} scales: "
                f"resize them to {MIN_SIZE} px a side or more."
            )
        x = images.float() / 255 if images.dtype == torch.uint8 else images
        return (x - self.mean) / self.std

    def convolve(self, x: Tensor) -> Tensor:
        """One scale: (B, 3, H, W), normalised -> (B, 256, h, w)."""
        return self._rest(self._stem(x))

    @property
    def _first(self) -> int:
        """The layer behind which the first attention module stands; without attention the last."""
        return min((int(index) for index in self.attention), default=len(self.alexnet) - 1)

    def _stem(self, x: Tensor) -> Tensor:
        return self.alexnet[: self._first + 1](x)

    def _rest(self, x: Tensor) -> Tensor:
        for index in range(self._first, len(self.alexnet)):
            if index > self._first:
                x = self.alexnet[index](x)
            if str(index) in self.attention:
                x = self.attention[str(index)](x)
        return x

    def stem(self, images: Tensor) -> list[Tensor]:
        """What no training changes: images (B, 3, H, W) -> for each scale (B, C, h, w) before the first attention."""
        x = self.normalize(images).contiguous(memory_format=torch.channels_last)
        y = []
        for scale in range(SCALES):
            size = (x.shape[-2] // 2**scale, x.shape[-1] // 2**scale)
            y.append(self._stem(F.interpolate(x, size=size) if scale else x))  # nearest neighbour
        return y

    def from_stem(self, stem: list[Tensor]) -> Tensor:
        """The rest of the way: `stem` -> features (B, 768)."""
        y = [self._rest(x).float().mean(dim=(2, 3)) for x in stem]  # (B, 256) each
        return torch.cat(y, dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 RGB, or float in [0, 1], (B, 3, H, W) -> features (B, 768)."""
        return self.from_stem(self.stem(images))
