"""DifferNet and AttentDifferNet as a model of the library anomalib, which has neither.

    from anomalib.data import Folder
    from anomalib.engine import Engine
    from adnlib.detectors.anomalib import AttentDifferNet

    data = Folder("parts", root="FOLDER", normal_dir="train/good", normal_test_dir="test/good", abnormal_dir="test/bad")
    model, engine = AttentDifferNet("se"), Engine()
    engine.fit(model, datamodule=data)
    engine.test(model, datamodule=data)
    engine.predict(model, data_path="NEW_IMAGES")  # batches with image_path and pred_score

No other module of adnlib needs anomalib: pip install anomalib.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms.v2 import Resize

from adnlib.differnet import DifferNet, latent_score
from adnlib.engine.extraction import extract, transform_views
from adnlib.engine.feature_sources import set_rescaling
from adnlib.errors import AdnError
from adnlib.flow import nll
from adnlib.presets import Preset
from adnlib.system.precision import autocast
from adnlib.views import View

try:
    from anomalib import LearningType
    from anomalib.data import InferenceBatch
    from anomalib.metrics import AUROC, Evaluator, F1Score
    from anomalib.models.components import AnomalibModule
    from anomalib.post_processing import PostProcessor
    from anomalib.pre_processing import PreProcessor
except ImportError as error:
    raise AdnError(f"adnlib.detectors.anomalib needs anomalib ({error}): run `pip install anomalib`.") from error


class AttentDifferNet(AnomalibModule):
    """adnlib.DifferNet (https://arxiv.org/abs/2008.12577), with `attention` AttentDifferNet
    (https://arxiv.org/abs/2311.02747), trained and tested by anomalib's Engine. It has no anomaly map.

    Arguments and **options: those of adnlib.DifferNet; epochs (default: the preset's). `model.model.net` is the
    adnlib.DifferNet. The preset decides on epochs, image size, views, precision and gradient clipping; Engine's
    arguments for these have no effect. `Engine.export` cannot export the flow: use the checkpoints of Engine.

    Deviations from `adnlib.training.fit`: the weights of the last epoch are kept, because anomalib's validation images
    may show defects; attention is not trained; the data module sets the size of a batch (the preset: batch_images);
    `seed` is for the initial weights only, `lightning.seed_everything` for the order of the images and their views.

    anomalib reads files by Pillow's `convert("RGB")`, which ignores EXIF orientation and transparency and clips 16-bit
    grey. All other files get the scores of `adnlib.evaluation.score`.
    """

    model: "Scorer"

    def __init__(
        self,
        attention: str | None = None,
        placement: str = "figure",
        train_attention: bool = False,
        *,
        preset: str | Preset = "fast",
        weights: str = "imagenet",
        seed: int = 0,
        epochs: int | None = None,
        **options,
    ):
        if train_attention is not False:
            raise AdnError(f"train_attention={train_attention!r} does not work in anomalib: use adnlib.fit, or False.")
        if epochs is not None and epochs < 1:
            raise AdnError(f"epochs={epochs} trains nothing: choose 1 or more.")
        net = DifferNet(attention, placement, preset=preset, weights=weights, seed=seed, **options)
        resize = PillowResize([net.preset.image_size] * 2)
        super().__init__(pre_processor=Resizing(resize))
        self.model, self.resize, self.epochs = Scorer(net), resize, epochs or net.preset.epochs

    def on_train_start(self) -> None:
        """Standardises the features, if the preset has `rescale`, by one pass over the training images."""
        net, loader = self.model.net, self.trainer.train_dataloader
        if net.preset.rescale and loader:
            views = net.preset.views("train")
            images = (to_uint8(self.resize(batch.image.to(self.device))) for batch in loader)
            set_rescaling(net, torch.cat([extract(net, x, views) for x in images]))

    def training_step(self, batch: Any, *_) -> Tensor:
        """The mean NLL () of the batch's images, each in `train_views` of the epoch's views."""
        net, images = self.model.net, to_uint8(batch.image)
        pool = net.preset.views("train", self.current_epoch + 1)
        picks = torch.rand(len(images), len(pool)).argsort(dim=1)[:, : net.preset.train_views].tolist()
        x = torch.cat([pool[k](image[None]) for image, row in zip(images, picks, strict=True) for k in row])
        y = extract(net, x, (View(),))[:, 0].clone()  # (B * V, 768); a copy, because `extract` is in inference mode
        with autocast(net.preset.flow_precision, self.device):
            loss = nll(*net.transform(y)).mean()
        if not loss.isfinite():
            raise AdnError(f"Training diverged in epoch {self.current_epoch + 1}: lower lr in the preset.")
        self.log("train_nll", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(images))
        return loss

    def validation_step(self, batch: Any, *_) -> Any:
        """Scores, on which the post-processor sets its threshold."""
        return batch.update(**self.model(batch.image)._asdict())

    def configure_optimizers(self) -> Any:
        preset, parameters = self.model.net.preset, [p for p in self.parameters() if p.requires_grad]
        adam = torch.optim.Adam(parameters, preset.lr, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5, fused=True)
        if not preset.lr_decay:
            return adam
        decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, int(self.trainer.estimated_stepping_batches))
        return [adam], [{"scheduler": decay, "interval": "step"}]

    @property
    def trainer_arguments(self) -> dict[str, Any]:
        clip = self.model.net.preset.max_norm
        return {"max_epochs": self.epochs, "gradient_clip_val": clip, "num_sanity_val_steps": 0, "devices": 1}

    @property
    def learning_type(self) -> LearningType:
        return LearningType.ONE_CLASS

    def configure_post_processor(self) -> PostProcessor:
        return RawScores(enable_normalization=False)

    @staticmethod
    def configure_evaluator() -> Evaluator:
        auroc = AUROC(fields=["pred_score", "gt_label"], prefix="image_")
        return Evaluator(test_metrics=[auroc, F1Score(fields=["pred_label", "gt_label"], prefix="image_")])

    @classmethod
    def checkpoint_safe_globals(cls) -> tuple[type, ...]:
        return (Preset,)


class Scorer(nn.Module):
    """DifferNet as anomalib calls a model: images, float (B, 3, S, S) in [0, 1] -> scores (B,)."""

    def __init__(self, net: DifferNet):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> InferenceBatch:
        y = extract(self.net, to_uint8(images), self.net.preset.views("test"))
        return InferenceBatch(pred_score=latent_score(transform_views(self.net, y)[0]))


class RawScores(PostProcessor):
    """Labels images by anomalib's threshold, but does not normalise their scores, as anomalib does by default: it clips
    them to [0, 1], and images with the same clipped score can no longer be ranked."""

    @property
    def normalized_image_threshold(self) -> Tensor:
        return self.image_threshold


class Resizing(PreProcessor):
    """Resizes, but does not normalise, which DifferNet does itself. The size is the preset's, not the checkpoint's."""

    def checkpoint_config(self) -> dict[str, Any]:
        return {}

    def load_checkpoint_config(self, config: dict[str, Any]) -> None:
        pass


class PillowResize(Resize):
    """Resizes images, float (..., 3, H, W) in [0, 1], as adnlib does: by Pillow, in 8 bits. (torchvision's Resize
    differs by up to 1/255.) The data module finds a Resize and applies it to each image before it makes batches."""

    def transform(self, inpt: Tensor, params: dict[str, Any]) -> Tensor:
        if not inpt.is_floating_point():  # a mask
            return super().transform(inpt, params)
        if list(inpt.shape[-2:]) == list(self.size):
            return inpt
        pixels = to_uint8(inpt).reshape(-1, *inpt.shape[-3:]).movedim(1, -1).cpu().numpy()  # (N, H, W, 3)
        resized = [np.array(Image.fromarray(x).resize(self.size, Image.Resampling.BILINEAR)) for x in pixels]
        y = torch.from_numpy(np.stack(resized)).movedim(-1, 1).to(inpt) / 255
        return tv_tensors.wrap(y.reshape(*inpt.shape[:-2], *self.size), like=inpt)


def to_uint8(images: Tensor) -> Tensor:
    """Floats in [0, 1] -> uint8 of the same shape; exact if they were uint8 before. AdnError: other values."""
    x = (255 * images).round()
    if not 0 <= x.amin() <= x.amax() <= 255:
        raise AdnError("The images have values outside of 0 to 1: remove Normalize from the data module.")
    return x.to(torch.uint8)
