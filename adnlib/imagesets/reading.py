"""Reading image files as upright uint8 RGB, which is what the models see, and mask files as bool.

16-bit grey is divided by 257, which maps 65535 to 255. All images follow this one rule, because stretching each to its
own range would make them incomparable. Transparent pixels are blended onto white, as on a web page. Only the first
page or frame of a file is read. Refused are images with floating-point pixels, whose range is not known, images with
more than MOST_PIXELS, and everything that is not a regular file or a link to one.
"""

import os
import stat
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from adnlib.errors import AdnError

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")  # whatever the ending is; Pillow's others may start programs
MOST_PIXELS = 60_000_000  # 1 GB while an image is read: 17 bytes per pixel for WebP, at most 12 for the others
NORMAL, ANOMALOUS = 0, 1
ORIENTATION = 0x0112  # EXIF tag; from value 5 on, the stored image lies on its side

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such images are refused with a sentence


def list_folder(folder: Path) -> list[Path]:
    """Everything directly in `folder`, by name, except hidden files, such as macOS's "._000.png"; AdnError if it cannot
    be listed."""
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if name[0] != "."]
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise AdnError(
            f"The folder {folder} cannot be read ({reason}): restore it or change its permissions."
        ) from error


def file_problem(path: Path) -> str:
    """Why `path` cannot be read as a file, or "". It is not opened, because opening a named pipe may never end."""
    try:
        found = path.stat()
    except OSError as error:  # such as a link to nothing, or links in a circle
        return error.strerror or type(error).__name__
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(found.st_mode):
        return f"it is {kinds.get(stat.S_IFMT(found.st_mode), 'a device')}, not a file"
    return "" if found.st_size else "it is empty"


def read_picture(path: Path) -> Image.Image:
    """The image file as an upright RGB image; AdnError names a file that cannot be read."""
    with open_image(path) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """An opened image, which is changed in place, as an upright RGB image. ValueError if its values have no range."""
    if image.mode == "F":
        raise ValueError("its floating-point pixels have no known range: save it with 8 or 16 bits")
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        return _to_8_bit(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(layer, mask=layer)
    return white


def read_mask(path: Path) -> np.ndarray:
    """A mask file as bool (H, W): pixels above 127 or, if there are none, above 0 (for masks of 0 and 1)."""
    with open_image(path) as image:
        return to_mask(image)


def to_mask(image: Image.Image) -> np.ndarray:
    """An opened mask, which is changed in place, as `read_mask` returns it."""
    ImageOps.exif_transpose(image, in_place=True)
    pixels = np.asarray(image if image.mode == "F" else image.convert("L"))
    return pixels > (127 if pixels.max() > 127 else 0)


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of the upright image in px, from the file's header alone."""
    with open_image(path) as file:
        width, height = file.size
        return (width, height) if file.getexif().get(ORIENTATION, 1) >= 5 else (height, width)


class open_image:
    """A context manager for Image.open that turns every error of a broken file into an AdnError that names the file."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> Image.Image:
        try:
            if problem := file_problem(self.path):
                raise ValueError(problem)
            self.file = Image.open(self.path, formats=FORMATS)
        except Exception as error:  # decoders raise many kinds of errors
            self._refuse(error)
        if self.file.width * self.file.height > MOST_PIXELS:
            self.file.close()
            self._refuse(Image.DecompressionBombError())
        return self.file

    def __exit__(self, kind, error, trace) -> None:
        self.file.close()
        if isinstance(error, Exception):
            self._refuse(error)

    def _refuse(self, error: Exception):
        raise AdnError(f"Cannot read the image {self.path} ({reason(error)}): replace or remove it.") from error


def reason(error: BaseException | None) -> str:
    """Why an image cannot be read, in a few words; the error is the cause of the AdnError."""
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {MOST_PIXELS:,} pixels"
    if isinstance(error, UnidentifiedImageError):
        return "its content is not PNG, JPEG, BMP, TIFF or WebP"
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _to_8_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are beyond 16 bits: save it with 8 or 16 bits")
    blocks = np.array_split(values, -(-values.size // 2**20))  # of rows, because the division needs 4 bytes per pixel
    return Image.fromarray(np.concatenate([((b.astype(np.uint32) + 128) // 257).astype(np.uint8) for b in blocks]))


@dataclass(frozen=True)
class Sample:
    """One image on disk: its path, its label (0 normal, 1 anomalous) and the name of its defect ("good": none)."""

    path: Path
    label: int
    defect: str
    mask_path: Path | None = None

    def read(self, size: int | None = None) -> "Tensor":
        """The image as uint8 RGB (3, H, W); with `size` in px, resized to a square (3, size, size), bilinear."""
        import torch  # here, because folders are also listed by commands that do not need it

        image = read_picture(self.path)
        if size is not None and image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    @property
    def image(self) -> "Tensor":
        """The image at its own size, uint8 RGB (3, H, W)."""
        return self.read()

    @property
    def mask(self) -> "Tensor | None":
        """The defect's pixels as bool (H, W), or None if there is no mask."""
        import torch

        if self.mask_path is None:
            return None
        mask, size = read_mask(self.mask_path), image_size(self.path)
        if mask.shape != size:
            raise AdnError(
                f"The mask {self.mask_path} has {mask.shape[0]} x {mask.shape[1]} px, its image {size[0]} x {size[1]}: "
                "replace or remove the mask."
            )
        return torch.from_numpy(mask)

    def mask_at(self, size: int) -> "Tensor | None":
        """`mask` resized to a square by nearest neighbour, bool (size, size), to match `read(size)`."""
        import torch

        if (mask := self.mask) is None:
            return None
        rows, columns = (torch.arange(size) * side // size for side in mask.shape)
        return mask[rows[:, None], columns]
