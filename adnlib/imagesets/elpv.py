"""elpv-dataset's wheel as an inspection data set, in MVTec AD's layout."""

import re
import zipfile
from pathlib import Path

import numpy as np

from adnlib.errors import AdnError


def lay_out_elpv(archive: Path, folder: Path) -> dict[str, dict[str, int]]:
    """Writes the cells of each kind (mono, poly) into `folder`; returns how many each leaves out, by reason.

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
    return left_out
