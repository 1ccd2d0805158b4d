"""The figure at the top of README, data/overview.png: two models on the plain bracket of wild_parts.

    .venv/bin/python benchmarks/overview.py

Takes about two minutes on two cores; existing runs in runs/ are reused.
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
        folder = ROOT / "runs" / config.folder_name
        runs.append(read_run(folder) if Path(folder).exists() else train_run(ROOT / "runs", config))
    buffer = io.BytesIO()
    overview(runs).savefig(buffer, format="png", dpi=90)
    Image.open(buffer).convert("P", palette=Image.Palette.ADAPTIVE).save(DATA / "overview.png", optimize=True)


if __name__ == "__main__":
    main()
