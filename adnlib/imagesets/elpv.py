"""ELPV: converts elpv-dataset's wheel to an inspection data set in MVTec AD's layout."""

import re
import zipfile
from pathlib import Path

import numpy as np

from adnlib.errors import AdnError


def lay_out_elpv(archive: Path, folder: Path) -> dict[str, dict[str, int]]:
    """Writes the cells of each category (mono, poly) into `folder`; returns how many it leaves out, by reason.

    Cells with a defect probability of 0 are normal, with 1 anomalous; uncertain cells (1/3, 2/3) are left out and
    counted. The data set has no published split: 70 % of the normal cells, drawn with seed 0, are for training. It does
    not state which module a cell was cut from, so both sides of the split may contain cells of the same module.
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
                            f"{archive.name} contains an unexpected image {image!r}: it is not the registered release."
                        )
                    target = folder / category / part / Path(image).name
                    target.write_bytes(wheel.read(f"elpv_dataset/data/{image}"))
            left_out[category] = {"uncertain label": len(cells) - sum(map(len, parts.values()))}
    return left_out
