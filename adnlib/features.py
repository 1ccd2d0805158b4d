"""AlexNet features at three scales, optionally with attention between the convolutions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.attention import build_attention
from adnlib.errors import AdnError, check_choice
from adnlib.models.alexnet import alexnet_convolutions
from adnlib.models.normalize import Normalize
from adnlib.models.weights import WEIGHTS, alexnet_weights
from adnlib.pooling import POOLINGS, build_pooling
from adnlib.system.seeds import seeded

# The layers of torchvision's alexnet().features after which the attention modules are inserted: index -> channels.
# conv1 0, ReLU 1, pool1 2, conv2 3, ReLU 4, pool2 5, conv3 6, ReLU 7, conv4 8, ReLU 9, conv5 10, ReLU 11, pool5 12.
PLACEMENTS = {
    "figure": {2: 64, 5: 192, 11: 256},  # after pool1, pool2, conv5 (and its ReLU): the figure on the project page
    "before-pool": {1: 64, 4: 192, 11: 256},  # after ReLU1, ReLU2, ReLU5: public code of unconfirmed origin
    "after-pool5": {2: 64, 5: 192, 12: 256},  # after pool1, pool2, pool5: public third-party code
}
SCALES = 3  # by default, full, half and quarter size
MIN_SIZE = 63 * 2 ** (SCALES - 1)  # px; at the smallest scale AlexNet's last pooling layer needs 63


class MultiScaleAlexNet(nn.Module):
    """DifferNet's feature extractor (Rudolph, Wandt, Rosenhahn, WACV 2021, https://arxiv.org/abs/2008.12577, sec. 3).

    The features are the spatial means of the outputs of AlexNet's frozen convolutions for the image at full, half and
    quarter size, concatenated. `attention` inserts a module after each of three layers, as AttentDifferNet does
    (https://arxiv.org/abs/2311.02747); all scales share these modules.

    attention: None or a key of adnlib.attention.ATTENTION. placement: a key of PLACEMENTS. weights: "imagenet" or
    "random". seed: for the initial values of the attention and of random weights. options: arguments of the attention
    module. Two options deviate from DifferNet: the pooling "surprise" (adnlib.pooling) instead of "mean", and a
    scale_step other than 2, by which each scale is smaller than the one before.
    """

    def __init__(
        self,
        attention: str | None = None,
        placement: str = "figure",
        weights: str = "imagenet",
        seed: int = 0,
        pooling: str = "mean",
        scale_step: float = 2.0,
        **options,
    ):
        super().__init__()
        self.scale_step = scale_step
        check_choice("placement", placement, PLACEMENTS)
        check_choice("pooling", pooling, POOLINGS)
        check_choice("weights", weights, WEIGHTS)
        with seeded(seed):
            self.attention = nn.ModuleDict()
            if attention is not None:
                for layer, channels in PLACEMENTS[placement].items():
                    self.attention[str(layer)] = build_attention(attention, channels, **options)
            elif options:
                raise AdnError(f"The options {sorted(options)} are for an attention module: choose one as well.")
            if weights == "random":
                self.alexnet = alexnet_convolutions()
            else:
                with torch.device("meta"):  # avoids computing initial values that are overwritten
                    self.alexnet = alexnet_convolutions()
                self.alexnet.load_state_dict(alexnet_weights(), assign=True)
        self.alexnet.requires_grad_(False).to(memory_format=torch.channels_last)  # faster, same values
        self.normalize = Normalize(MIN_SIZE, f"{SCALES} scales")
        self.pooling = build_pooling(pooling, 256, SCALES)

    def forward(self, images: Tensor) -> Tensor:
        """uint8 RGB, or float in [0, 1], (B, 3, H, W) -> features (B, 768)."""
        return self.pooling(self.maps(images))

    def maps(self, images: Tensor) -> list[Tensor]:
        """As `forward`, before the pooling: the maps (B, 256, h, w) of all scales."""
        x = self.normalize(images).contiguous(memory_format=torch.channels_last)
        return [self.convolve(smaller) for smaller in self.scaled(x)]

    def extra_repr(self) -> str:
        return f"scale_step={self.scale_step}"  # so that features and checkpoints of other scales are not reused

    def scaled(self, x: Tensor) -> list[Tensor]:
        """Normalised images (B, 3, H, W) at all scales, the largest first."""
        return [downscale(x, self.scale_step**scale) for scale in range(SCALES)]

    def convolve(self, x: Tensor) -> Tensor:
        """One scale: (B, 3, H, W), normalised -> (B, 256, h, w)."""
        for layer in self.path():
            x = layer(x)
        return x

    def path(self) -> list[nn.Module]:
        """AlexNet's layers in order, each followed by its attention module if it has one."""
        modules = []
        for index, layer in enumerate(self.alexnet):
            modules.append(layer)
            if str(index) in self.attention:
                modules.append(self.attention[str(index)])
        return modules


def downscale(x: Tensor, factor: float) -> Tensor:
    """(B, C, H, W) -> (B, C, H / factor, W / factor) by nearest neighbour, as in DifferNet's published code."""
    size = [int(side / factor + 1e-6) for side in x.shape[-2:]]  # the small number: sqrt(2) squared is more than 2
    return F.interpolate(x, size=size) if factor != 1 else x
