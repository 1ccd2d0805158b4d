"""The base class of all detectors: feature maps of a frozen backbone, scores and anomaly maps, saving and loading.

A method implements two functions. `learn` takes the feature maps of normal images. `judge` takes the feature maps of
any images and returns a score for each image and, if the method has one, an anomaly map.
"""

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
import torchvision.transforms.v2.functional as TF
from torch import Tensor, nn

from adnlib.datasets import Split
from adnlib.engine.extraction import read_images
from adnlib.errors import AdnError
from adnlib.models.backbones import Backbone
from adnlib.system.files import write_whole
from adnlib.system.seeds import seeded

CHUNK = 16  # images per pass through the backbone
ROWS = 2048  # vectors per computation of distances to a memory bank

Maps = list[Tensor]  # one (B, C_i, h_i, w_i) for each stage of the backbone, the finest first


class Detector(nn.Module):
    """A detector that learns from normal images alone, on the feature maps of a frozen backbone.

    backbone: a module from images uint8 (B, 3, S, S) to `Maps`, with `channels`, as in adnlib.models.backbones.
    image_size: S in px. seed: for every random draw and all initial weights.
    """

    title: str  # for figures and tables
    fitted: Tensor

    def __init__(self, backbone: nn.Module, image_size: int = 256, seed: int = 0):
        super().__init__()
        self.backbone, self.image_size, self.seed = backbone, image_size, seed
        self.built_by: dict | None = None  # the arguments of `build_detector`, for `save`
        self.register_buffer("fitted", torch.tensor(False))

    @classmethod
    def build(
        cls, backbone: str, attention: str | None, image_size: int, seed: int, backbone_options: dict, **options
    ) -> "Detector":
        """The detector with a backbone given by name."""
        return cls(Backbone(backbone, attention, seed=seed, **backbone_options), image_size, seed, **options)

    def learn(self, chunks: Iterator[Maps]) -> None:
        """Learns from the feature maps of all training images, one chunk of images at a time."""
        raise NotImplementedError

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor | None]:
        """Feature maps of B images -> scores (B,) and anomaly maps (B, S, S) or None, larger for more anomalous."""
        raise NotImplementedError

    def fit(self, train: Split | Tensor) -> "Detector":
        """Learns from normal images: a split, or uint8 (N, 3, S, S). The same seed gives the same detector."""
        self._check_untrained()
        images = self._images(train)
        if len(images) < 2:
            raise AdnError(f"There are {len(images)} training images: pass two or more.")
        with seeded(self.seed):
            self.train()
            self.learn(self._chunks(images))
        self.fitted.fill_(True)
        self.eval()
        return self

    def _check_untrained(self) -> None:
        if self.fitted and any(p.requires_grad for p in self.parameters()):
            raise AdnError(f"This {type(self).__name__} is already trained: build a new one to train again.")

    @torch.inference_mode()
    def predict(self, images: Split | Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (N,) and anomaly maps (N, S, S) or None, both float32, from one pass."""
        if not self.fitted:
            raise AdnError(f"This {type(self).__name__} has learned nothing yet: call fit with normal images first.")
        scores, maps = zip(*(self.judge(chunk) for chunk in self._chunks(self._images(images))), strict=True)
        return torch.cat(scores).cpu(), None if maps[0] is None else torch.cat(maps).cpu()

    def score(self, images: Split | Tensor) -> Tensor:
        """Anomaly scores (N,), larger for more anomalous."""
        return self.predict(images)[0]

    def map(self, images: Split | Tensor) -> Tensor | None:
        """Anomaly maps (N, S, S), larger for more anomalous; None for a method without maps."""
        return self.predict(images)[1]

    def maps(self, images: Tensor) -> Maps:
        """The feature maps that the method uses, from images (B, 3, S, S)."""
        return self.backbone(images)

    def map_shapes(self) -> list[torch.Size]:
        """The shapes (C_i, h_i, w_i) of the feature maps that the method uses."""
        with torch.inference_mode():
            return [y.shape[1:] for y in self.maps(torch.zeros(1, 3, self.image_size, self.image_size))]

    def _images(self, images: Split | Tensor) -> Tensor:
        if not len(images):
            raise AdnError("There are no images: pass at least one.")
        images = read_images(images, self.image_size) if isinstance(images, Split) else images
        wanted = (3, self.image_size, self.image_size)
        if tuple(images.shape[1:]) != wanted:
            raise AdnError(
                f"Images have the shape {tuple(images.shape)}: this detector takes (N, {', '.join(map(str, wanted))}); "
                "resize them, or build it with another image_size."
            )
        return images

    def _chunks(self, images: Tensor) -> Iterator[Maps]:
        for chunk in images.split(CHUNK):
            with torch.no_grad():  # not around the yield: after an error there, gradients would stay disabled
                maps = self.maps(chunk.to(self.fitted.device))
            yield maps

    def learned(self) -> dict[str, Tensor]:
        """All tensors except those of the backbone: `save` writes these."""
        return {name: tensor for name, tensor in self.state_dict().items() if not name.startswith("backbone.")}

    def save(self, path: Path | str) -> None:
        """Writes the fitted detector as one safetensors file, which names the backbone but does not contain it."""
        if self.built_by is None:
            raise AdnError("Only a detector made by build_detector can be saved: the file must name its backbone.")
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.learned().items()}
        write_whole(Path(path).resolve(), safetensors.torch.save(tensors, {"built_by": json.dumps(self.built_by)}))

    def load_learned(self, tensors: dict[str, Tensor]) -> None:
        """Restores the tensors from `learned`, including those with shapes that depend on the training images."""
        for name, tensor in tensors.items():
            path, _, leaf = name.rpartition(".")
            owner = self.get_submodule(path)
            if leaf in owner._buffers:
                owner._buffers[leaf] = tensor
            else:
                owner.get_parameter(leaf).data.copy_(tensor)
        self.eval()


def read_saved(path: Path | str) -> tuple[dict, dict[str, Tensor]]:
    """The arguments of `build_detector` and the tensors in a file that `save` wrote."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            arguments = json.loads(file.metadata()["built_by"])
            return arguments, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise AdnError(f"There is no file {path}: save a fitted detector there first.") from error
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise AdnError(f"{path} contains no saved detector ({error}): save it again.") from error


def stack(maps: Maps, mode: str = "nearest") -> Tensor:
    """The maps of all stages, resized to the first and concatenated: (B, sum of C_i, h_0, w_0)."""
    size = maps[0].shape[-2:]
    return torch.cat([maps[0], *(F.interpolate(y, size=size, mode=mode) for y in maps[1:])], dim=1)


def vectors(y: Tensor) -> Tensor:
    """(B, C, h, w) -> one row per position, (B * h * w, C)."""
    return y.movedim(1, -1).flatten(0, -2)


def to_image(y: Tensor, size: int, sigma: float = 4.0, mode: str = "bilinear") -> Tensor:
    """A map (B, h, w) at the size of the image, (B, size, size), smoothed by a Gaussian of `sigma` px.

    The map is stretched over the whole image, as in other packages. adnlib.explain.maps puts each position at the
    centre of its receptive field instead, which differs by a few px.
    """
    y = F.interpolate(y[:, None], size=(size, size), mode=mode)
    reach = min(int(4 * sigma + 0.5), size - 1)  # px to each side; the border is reflected
    return TF.gaussian_blur(y, [2 * reach + 1] * 2, [sigma, sigma])[:, 0]


def nearest(x: Tensor, bank: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """The `count` rows of bank (M, D) nearest to each row of x (Q, D): distances and indices, (Q, count)."""
    pairs = [torch.cdist(rows, bank).topk(count, dim=1, largest=False) for rows in x.split(ROWS)]
    return torch.cat([d for d, _ in pairs]), torch.cat([i for _, i in pairs])


def gather(chunks: Iterable[Maps]) -> Maps:
    """The maps of all images at once: a tensor (N, C_i, h_i, w_i) for each stage."""
    return [torch.cat(stage) for stage in zip(*chunks, strict=True)]


def batches(count: int, size: int, epochs: int) -> Iterator[Tensor]:
    """Indices of minibatches, reshuffled in each epoch. A last batch of one is dropped, because BatchNorm needs two."""
    if size < 2:
        raise AdnError(f"batch={size} is too small: choose 2 or more.")
    for _ in range(epochs):
        yield from (rows for rows in torch.randperm(count).split(size) if len(rows) > 1 or count == 1)


def minimise(parameters: Iterable[Tensor], losses: Iterator[Tensor], steps: int, *, clip: float = 0.0, **adam) -> None:
    """Minimises a stream of `steps` losses with Adam. The learning rate falls to zero along half a cosine.

    Whether a loss was not finite is read at the end, so that no step waits for the device.
    """
    parameters = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, **adam)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    seen = None  # the last loss or, if there is one, the first that is not finite
    for loss in losses:
        seen = loss.detach() if seen is None else torch.where(seen.isfinite(), loss.detach(), seen)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        schedule.step()
    if seen is None:
        raise AdnError("The training took no step: choose epochs=1 or more.")
    if not math.isfinite(seen.item()):
        raise AdnError(f"Training diverged (loss {seen.item():.3g}): lower lr.")
