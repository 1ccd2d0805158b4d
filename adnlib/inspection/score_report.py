"""The report of a batch: one HTML page with thumbnails that opens offline, and images with their heat maps."""

import base64
import hashlib
import html
import io
import os
from contextlib import suppress
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from adnlib.book.report import figure_html
from adnlib.errors import AdnError, printable
from adnlib.experiments.names import path_part
from adnlib.explain.maps import deviation_map
from adnlib.imagesets.reading import read_picture
from adnlib.inspection.batch import ANOMALOUS, SKIPPED, Row
from adnlib.inspection.scoring import Scorer, model_input
from adnlib.plots import calibrated_scores
from adnlib.system.files import whole_folder, write_whole

THUMBNAILS = 120  # with the highest scores, and as many nearest to the threshold
SIDE = 180  # px of a thumbnail
LONGEST = 2048  # px of an overlay
SMOOTHING = 8.0  # px of the model's input, half the distance of two positions of the map
HOT = 30.0  # times what is usual in normal images: where a heat map is yellow

SCRIPT = """const list = document.querySelector('#images'), choice = document.querySelector('#order');
choice.addEventListener('change', () => {
  const key = choice.value, text = key === 'name';
  const value = item => text ? item.dataset.name : Number(item.dataset[key]);
  const order = (a, b) => text ? value(a).localeCompare(value(b)) : value(a) - value(b);
  list.append(...[...list.children].sort(order));
});"""
STYLE = """body { font: 16px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 72rem; padding: 0 1rem; }
figure { margin: 0; } figure img { max-width: 100%; }
#images { display: flex; flex-wrap: wrap; gap: 1rem; list-style: none; padding: 0; }
#images li { width: 380px; border: 3px solid #2166ac; padding: .4rem; overflow-wrap: anywhere; font-size: .85rem; }
#images li.anomalous { border-color: #d95f02; }
#images img { max-width: 48%; vertical-align: top; }
table { border-collapse: collapse; } td, th { border-bottom: 1px solid #ccc; padding: .2rem .6rem; text-align: left; }
td { overflow-wrap: anywhere; }"""


def heat_overlay(
    scorer: Scorer, path: Path, longest: int, wanted: bool = True
) -> tuple[Image.Image, Image.Image | None]:
    """An image at most `longest` px long, and the same with its heat map.

    The map is transparent below what is usual in normal images and yellow from HOT times that value, on a logarithmic
    scale. It is None unless `wanted`, or if the run's images are not on this machine.
    """
    picture = read_picture(path)
    if not wanted:
        picture.thumbnail((longest, longest))
        return picture, None
    x = model_input(picture, scorer.model.preset.image_size)[None]
    picture.thumbnail((longest, longest))
    try:
        limit = scorer.map_limit
        heat = deviation_map(scorer.model, x, scorer.normal, stretch=False)[0].numpy()
    except AdnError:
        return picture, None
    share = (np.log(np.maximum(heat / limit, 1)) / np.log(HOT)).clip(max=1)
    smooth = gaussian_filter(share.astype(np.float32), SMOOTHING)
    resized = Image.fromarray(smooth).resize(picture.size, Image.Resampling.BILINEAR)
    share = np.asarray(resized)  # (h, w) from 0 to 1
    opacity = 0.75 * np.sqrt(share)[..., None]
    colours = 255 * matplotlib.colormaps["autumn"](share)[..., :3]
    mixed = (1 - opacity) * np.asarray(picture) + opacity * colours
    return picture, Image.fromarray(mixed.round().astype(np.uint8))


def write_overlays(scorer: Scorer, rows: list[Row], folder: Path) -> None:
    """A PNG for each row, in the image's own proportions; replaces the folder as a whole."""
    if rows:
        _ = scorer.map_limit  # AdnError if the run's images are not here
    with whole_folder(folder) as new:
        for number, row in enumerate(rows):
            _, overlay = heat_overlay(scorer, Path(row.path), LONGEST)
            if overlay:
                overlay.save(new / f"{number:05d}_{path_part(Path(row.path).stem)[:80]}.png")


def write_score_report(scorer: Scorer, rows: list[Row], summary: list[str], page: Path) -> None:
    """One page: summary, distribution of the scores, thumbnails in any order, and what was skipped and why."""
    scored = [row for row in rows if row.verdict != SKIPPED]
    by_score = sorted(scored, key=lambda row: -row.score)
    near = sorted(scored, key=lambda row: abs(np.log(max(row.score, 1e-30) / scorer.threshold)))
    shown = list(dict.fromkeys([*by_score[:THUMBNAILS], *near[:THUMBNAILS]]))
    shown.sort(key=lambda row: -row.score)
    hidden = len(scored) - len(shown)
    items = "".join(_item(scorer, row) for row in shown)
    skipped = "".join(
        f"<tr><td>{_text(row.path)}</td><td>{_text(row.remark)}</td></tr>" for row in rows if row.verdict == SKIPPED
    )
    parts = [
        f"<h1>{_text(scorer.run.config.category)}: {len(rows)} files</h1>",
        "".join(f"<p>{_text(line)}</p>" for line in summary),
        f"<p>Model: {_text(scorer.run.variant)}, run {_text(scorer.run.folder.name)}.</p>",
        _histogram(scorer, np.array([row.score for row in scored])) if scored else "",
        '<p><label>Order: <select id="order"><option value="rank">highest score first</option>'
        '<option value="distance">nearest to the threshold first</option><option value="name">name</option></select>'
        f"</label>{f' {hidden} further images have no thumbnail.' if hidden else ''}</p>",
        f'<ul id="images">{items}</ul>',
        f"<h2>Skipped</h2><table><tr><th>file</th><th>reason</th></tr>{skipped}</table>" if skipped else "",
    ]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scores</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main>"
        f"<script>{SCRIPT}</script></body></html>"
    )
    write_whole(page, text.encode())


def _item(scorer: Scorer, row: Row) -> str:
    pictures = []
    with suppress(AdnError):  # the file may have gone meanwhile
        picture, overlay = heat_overlay(scorer, Path(row.path), SIDE, row.verdict == ANOMALOUS)
        pictures = [picture, overlay] if overlay else [picture]
    distance = abs(np.log(max(row.score, 1e-30) / scorer.threshold))
    alts = (f"image {Path(row.path).name}", "the same with its heat map")
    images = "".join(f'<img src="{_data(p)}" alt="{_text(alt)}">' for p, alt in zip(pictures, alts, strict=False))
    remark = f"<br>{_text(row.remark)}" if row.remark else ""
    return (
        f'<li class="{row.verdict}" data-rank="{-row.score:.6g}" data-distance="{distance:.6g}" '
        f'data-name="{_text(row.path)}">{images}<br>{_text(row.path)}<br>{row.verdict}, score {row.score:.4g}, '
        f"p = {row.p_value:.2g}{remark}</li>"
    )


def _histogram(scorer: Scorer, scores: np.ndarray) -> str:
    known = scorer.calibration["score"].to_numpy()
    figure = calibrated_scores(scores, known, scorer.threshold, "Scores")
    text = figure_html(figure, "Histograms of the scores of calibration images and judged images", "")
    plt.close(figure)
    return text


def _data(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def _text(value: object) -> str:
    return html.escape(printable(os.fspath(value) if isinstance(value, Path) else str(value)))
