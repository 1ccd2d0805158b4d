"""The picture at the top of README, data/overview.png: two models on the controlled bracket of wild_parts.

    .venv/bin/python benchmarks/overview.py

About two minutes on two cores; runs that exist in runs/ are used as they are.
"""

import io
from pathlib import Path

from PIL import Image

from adnlib import RunConfig, train_run
from adnlib.experiments.runs import read_run
from adnlib.explain.overview import overview
from adnlib.system.folders import DATA, ROOT


def main() -> None:
    runs = []
    for attention in (None, "se"):
        config = RunConfig("wild_parts", "bracket_plain", attention)
        folder = ROOT / "runs" / config.name
        runs.append(read_run(folder) if Path(folder).exists() else train_run(ROOT / "runs", config))
    picture = io.BytesIO()
    overview(runs).savefig(picture, format="png", dpi=90)
    Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE).save(DATA / "overview.png", optimize=True)


if __name__ == "__main__":
    main()
