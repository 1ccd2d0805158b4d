"""Inspection images: normal ones to train on, normal and anomalous ones to test on.

Every set lies on disk as `CATEGORY/train/good`, `CATEGORY/test/good`, `CATEGORY/test/DEFECT` and, where there are
pixel masks, `CATEGORY/ground_truth/DEFECT/STEM_mask.png`: MVTec AD's layout, which the field has made its standard.
"""

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from adnlib.errors import AdnError, check_choice
from adnlib.fetch import fetch_package, home, registry
from adnlib.files import whole_folder

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
NORMAL, ANOMALOUS = 0, 1


@dataclass(frozen=True)
class Sample:
    """One image on disk: where it lies, its label (0 normal, 1 anomalous) and the name of its defect ("good": none)."""

    path: Path
    label: int
    defect: str
    mask_path: Path | None = None

    def read(self, size: int | None = None) -> Tensor:
        """The image as uint8 RGB (3, H, W); with `size` in px, resized to a square (3, size, size), bilinear."""
        try:
            with Image.open(self.path) as file:
                picture = ImageOps.exif_transpose(file).convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            reason = str(error).replace(f"{str(self.path)!r}", "the file")
            raise AdnError(f"Cannot read the image {self.path} ({reason}): replace or remove it.") from error
        if size is not None and picture.size != (size, size):
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1)

    @property
    def image(self) -> Tensor:
        """The image at its own size, uint8 RGB (3, H, W)."""
        return self.read()

    @property
    def mask(self) -> Tensor | None:
        """The defect's pixels as bool (H, W), or None where no mask is known."""
        if self.mask_path is None:
            return None
        with Image.open(self.mask_path) as file:
            return torch.from_numpy(np.array(file.convert("L")) > 127)


@dataclass(frozen=True)
class Split(Sequence):
    """A sequence of samples that decodes nothing before it is asked to."""

    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        return Split(self.samples[index]) if isinstance(index, slice) else self.samples[index]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int: 0 normal, 1 anomalous."""
        return np.array([sample.label for sample in self.samples])

    def images(self, size: int) -> Tensor:
        """All images as one uint8 tensor (N, 3, size, size)."""
        return torch.stack([sample.read(size) for sample in self.samples])


@dataclass(frozen=True)
class Dataset:
    """One category of one data set. `train` and `validation` hold normal images only; no choice looks at `test`."""

    name: str
    category: str
    train: Split
    validation: Split
    test: Split
    licence: str = "the owner's"
    citation: str = "none"
    left_out: dict[str, int] = field(default_factory=dict)  # images of the source that no split holds, by reason

    def __str__(self) -> str:
        return f"{self.name} / {self.category}: " + ", ".join(f"{count} {what}" for what, count in self.counts.items())

    @property
    def counts(self) -> dict[str, int]:
        """How many images each part holds."""
        anomalous = int(self.test.labels.sum())
        return {
            "train normal": len(self.train),
            "validation normal": len(self.validation),
            "test normal": len(self.test) - anomalous,
            "test anomalous": anomalous,
            **{f"left out ({reason})": count for reason, count in self.left_out.items()},
        }


def load_dataset(name: str, category: str | None = None, *, validation: float = 0.15, seed: int = 0) -> Dataset:
    """One category of a data set, downloaded first where that is needed and possible.

    name: a table of data/registry.toml that has categories ("elpv"), or "folder:PATH" for images of your own.
    category: a folder inside the set; None for "folder:PATH" where PATH itself holds train/ and test/.
    validation: the share of the normal training images that is set apart, drawn with `seed`.
    """
    if name.startswith("folder:"):
        root, facts = Path(name.removeprefix("folder:")).expanduser(), {}
        if not root.is_dir():
            raise AdnError(f"There is no data folder {root}: check the path behind 'folder:'.")
    else:
        known = {key: entry for key, entry in registry().items() if "categories" in entry}
        check_choice("dataset", name, [*known, "folder:PATH"])
        entry = known[name]
        check_choice("category", category, entry["categories"])
        root = fetch_dataset(name)
        left_out = json.loads((root / "dataset.json").read_text(encoding="utf-8"))["left_out"][category]
        facts = {"licence": entry["licence"], "citation": entry["citation"], "left_out": left_out}
    folder = root / category if category else root
    normal, test = _read_layout(folder)
    if not 0 < validation < 1 or not 0 < (held := round(validation * len(normal)) or 1) < len(normal):
        raise AdnError(f"validation={validation} of {len(normal)} normal images in {folder / 'train' / 'good'} leaves "
                       "nothing to train on or to validate with: add images or choose another share.")  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(normal))
    return Dataset(
        name=name,
        category=category or folder.resolve().name,
        validation=Split(tuple(normal[i] for i in sorted(order[:held]))),
        train=Split(tuple(normal[i] for i in sorted(order[held:]))),
        test=test,
        **facts,
    )


def _read_layout(folder: Path) -> tuple[Split, Split]:
    """The normal training images and the test images of one category."""
    if not folder.is_dir():
        raise AdnError(f"There is no category folder {folder}: check the category's name.")
    normal = [Sample(path, NORMAL, "good") for path in _images(folder / "train" / "good")]
    if len(normal) < 2:
        raise AdnError(f"The category {folder} is empty: {folder / 'train' / 'good'} needs two normal images or more.")
    test = []
    for defect in sorted(path for path in folder.glob("test/*") if path.is_dir()):
        label = NORMAL if defect.name == "good" else ANOMALOUS
        for path in _images(defect):
            mask = folder / "ground_truth" / defect.name / f"{path.stem}_mask.png"
            test.append(Sample(path, label, defect.name, mask if mask.exists() else None))
    for label, what, where in ((NORMAL, "normal", "test/good"), (ANOMALOUS, "anomalous", "test/NAME_OF_DEFECT")):
        if not any(sample.label == label for sample in test):
            raise AdnError(f"There are no {what} test images in {folder}: AUROC needs both kinds, put some in {where}.")
    return Split(tuple(normal)), Split(tuple(test))


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS)


def fetch_dataset(name: str) -> Path:
    """The folder of a registered data set, downloaded and laid out where it is missing; a good copy is not touched."""
    folder = home() / "data" / name
    if not (folder / "dataset.json").exists():
        entry = registry()[name]
        with whole_folder(folder) as new:
            archive = fetch_package(entry["package"], entry["file"], entry["sha256"], new.parent)
            {"elpv": _lay_out_elpv}[name](archive, new)
    return folder


def _lay_out_elpv(archive: Path, folder: Path) -> None:
    """elpv-dataset's wheel as an inspection data set, for each kind of cell (mono, poly).

    Normal is a defect probability of 0, anomalous 1; the uncertain ones (1/3, 2/3) are left out and counted. The set
    has no split of its own: 70 % of the normal cells, drawn with seed 0, are for training. It does not say which
    module a cell was cut from, so that cells of one module may stand on both sides.
    """
    with zipfile.ZipFile(archive) as wheel:
        rows = [line.split() for line in wheel.read("elpv_dataset/data/labels.csv").decode().splitlines()]
        left_out = {}
        for category in ("mono", "poly"):
            cells = sorted((image, float(probability)) for image, probability, kind in rows if kind == category)
            normal = [image for image, probability in cells if probability == 0]
            order = np.random.default_rng(0).permutation(len(normal))
            cut = round(0.7 * len(normal))
            parts = {
                "train/good": [normal[i] for i in order[:cut]],
                "test/good": [normal[i] for i in order[cut:]],
                "test/defective": [image for image, probability in cells if probability == 1],
            }
            for part, images in parts.items():
                (folder / category / part).mkdir(parents=True)
                for image in images:
                    if not re.fullmatch(r"images/cell\d{4}\.png", image):
                        raise AdnError(
                            f"{archive.name} names an unexpected image {image!r}: it is not the known release."
                        )
                    target = folder / category / part / Path(image).name
                    target.write_bytes(wheel.read(f"elpv_dataset/data/{image}"))
            left_out[category] = {"uncertain label": len(cells) - sum(map(len, parts.values()))}
    (folder / "dataset.json").write_text(json.dumps({"left_out": left_out}), encoding="utf-8")
