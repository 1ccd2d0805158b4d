"""Reading image files as upright uint8 RGB, which is what the models see, and mask files as bool.

16-bit grey is divided by 257, which maps 65535 to 255. All images follow this one rule, because stretching each to its
own range would make them incomparable. Transparent pixels are blended onto white, as on a web page. Only the first
page of a file is read. Images with floating-point pixels, whose range is not known, are refused.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from adnlib.errors import AdnError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
NORMAL, ANOMALOUS = 0, 1
ORIENTATION = 0x0112  # EXIF tag; from value 5 on, the stored image lies on its side


def list_images(folder: Path) -> list[Path]:
    """The image files directly in `folder`, by name; hidden files, such as macOS's "._000.png", are left out."""
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")


def read_picture(path: Path) -> Image.Image:
    """The image file as an upright RGB image; AdnError names a file that cannot be read."""
    with _open(path) as file:
        image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):
            image = _to_8_bit(image)
        if image.mode == "F":
            raise ValueError("its floating-point pixels have no known range: save it with 8 or 16 bits")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")


def read_mask(path: Path) -> np.ndarray:
    """A mask file as bool (H, W): pixels above 127 or, if there are none, above 0 (for masks of 0 and 1)."""
    with _open(path) as file:
        pixels = np.asarray(ImageOps.exif_transpose(file).convert("L"))
    return pixels > (127 if pixels.max() > 127 else 0)


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of the upright image in px, from the file's header alone."""
    with _open(path) as file:
        width, height = file.size
        return (width, height) if file.getexif().get(ORIENTATION, 1) >= 5 else (height, width)


class _open:
    """A context manager for Image.open that turns every error of a broken file into an AdnError that names the file."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Image.Image:
        try:
            self.file = Image.open(self.path)
        except Exception as error:  # decoders raise many kinds of errors
            self._refuse(error)
        return self.file

    def __exit__(self, kind, error, trace) -> None:
        self.file.close()
        if isinstance(error, Exception):
            self._refuse(error)

    def _refuse(self, error: Exception):
        reason = str(error).replace(f"{str(self.path)!r}", "the file") or type(error).__name__
        raise AdnError(f"Cannot read the image {self.path} ({reason}): replace or remove it.") from error


def _to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are beyond 16 bits: save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


@dataclass(frozen=True)
class Sample:
    """One image on disk: its path, its label (0 normal, 1 anomalous) and the name of its defect ("good": none)."""

    path: Path
    label: int
    defect: str
    mask_path: Path | None = None

    def read(self, size: int | None = None) -> Tensor:
        """The image as uint8 RGB (3, H, W); with `size` in px, resized to a square (3, size, size), bilinear."""
        image = read_picture(self.path)
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    @property
    def image(self) -> Tensor:
        """The image at its own size, uint8 RGB (3, H, W)."""
        return self.read()

    @property
    def mask(self) -> Tensor | None:
        """The defect's pixels as bool (H, W), or None if there is no mask."""
        if self.mask_path is None:
            return None
        mask, size = read_mask(self.mask_path), image_size(self.path)
        if mask.shape != size:
            raise AdnError(
                f"The mask {self.mask_path} has {mask.shape[0]} x {mask.shape[1]} px, its image {size[0]} x {size[1]}: "
                "replace or remove the mask."
            )
        return torch.from_numpy(mask)

    def mask_at(self, size: int) -> Tensor | None:
        """`mask` resized to a square by nearest neighbour, bool (size, size), to match `read(size)`."""
        if (mask := self.mask) is None:
            return None
        rows, columns = (torch.arange(size) * side // size for side in mask.shape)
        return mask[rows[:, None], columns]
