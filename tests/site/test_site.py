"""The site: docstrings and documents become pages whose links lead somewhere; Python and JavaScript paint alike."""

import inspect
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import docutils.core
import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import adnlib
from adnlib import AdnError
from adnlib.inspection.strokes import painted
from adnlib.system.folders import ROOT

pytest.importorskip("sphinx", reason="Sphinx is not installed: pip install '.[site]'")
pytest.importorskip("onnx", reason="onnx is not installed: pip install '.[site]'")

import docstrings
import live_figures
import make_site

PYTHON = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
STROKE = {"points": [[0.5, 0.5]], "size": 0.5, "soft": 0.0, "opacity": 1.0, "colour": [255, 0, 0]}


class Links(HTMLParser):
    """The links, files and anchors of a page."""

    def __init__(self, page: Path):
        super().__init__()
        self.links, self.anchors, self.loaded = [], set(), []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        loads = tag in ("script", "img") or (tag == "link" and values.get("rel") not in ("canonical", "next", "prev"))
        if loads and (address := values.get("src") or values.get("href")):
            self.loaded.append(address)


def broken_links(folder: Path) -> list[str]:
    """Internal links that lead nowhere, and scripts, styles and images that are missing or on another server."""
    pages = {path: Links(path) for path in folder.glob("*.html")}
    found = []
    for path, page in pages.items():
        for address in {*page.links, *page.loaded}:
            parts = urlparse(address)
            if parts.scheme in ("http", "https", "mailto", "data") or parts.netloc:
                if address in page.loaded and parts.scheme != "data":
                    found.append(f"{path.name}: loads {address}")
                continue
            target = path.parent / unquote(parts.path) if parts.path else path
            anchors = pages[target].anchors if target in pages else set()
            if not target.exists() or (parts.fragment and target in pages and unquote(parts.fragment) not in anchors):
                found.append(f"{path.name}: {address}")
    return found


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="x"><a href="b.html"></a><a href="#y"></a><a href="#x"></a>')
    (tmp_path / "c.html").write_text('<a href="a.html#x"></a><img src="https://example.org/x.png"><a href="a.html#z">')
    found = ["a.html: #y", "a.html: b.html", "c.html: a.html#z", "c.html: loads https://example.org/x.png"]
    assert sorted(broken_links(tmp_path)) == found


@pytest.mark.slow
def test_a_site_of_two_notebooks_is_built_and_every_link_works(tmp_path, monkeypatch):
    printed = new_output("stream", name="stdout", text="hello")
    code = "from adnlib import SqueezeExcitation\nfrom adnlib.views import View"
    texts = ["# One\n\n$a_1$ and [two](01_finding_anomalies.ipynb#part), [none](08_results.ipynb).", "# Two\n\n## Part"]
    for name, text in zip(("00_start_here", "01_finding_anomalies"), texts, strict=True):
        cells = [new_markdown_cell(text), new_code_cell(code, outputs=[printed])]
        nbformat.write(new_notebook(cells=cells, metadata=PYTHON), tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(make_site, "ROAD", ["views"])
    monkeypatch.setattr(make_site, "PACKAGES", ["attention"])
    make_site.build(tmp_path, tmp_path / "site", None, quiet=True)
    site = tmp_path / "site"
    assert broken_links(site) == []
    lesson, reference = ((site / f"{name}.html").read_text() for name in ("00_start_here", "api_attention"))
    assert 'href="api_attention.html#adnlib.attention.se.SqueezeExcitation"' in lesson and "<math" in lesson
    assert re.search(r'Used in <a [^>]*href="00_start_here.html"', reference)
    for page in site.glob("*_*.html"):
        assert re.search(r"Made from commit \w+", page.read_text()), page


def test_the_built_site_has_no_broken_link():
    folder = ROOT / "build" / "site"
    if not folder.exists():
        pytest.skip("the site is not built: make site")
    assert broken_links(folder) == []


def test_docstrings_are_valid_restructuredtext():
    for thing in (adnlib.DifferNet, adnlib.CBAM, adnlib.intervals.auroc_interval, make_site):
        problems = io.StringIO()
        text = docstrings.to_rst(inspect.cleandoc(thing.__doc__), {})
        docutils.core.publish_string(text, writer="null", settings_overrides={"warning_stream": problems})
        assert not problems.getvalue(), text


def test_a_figure_that_contradicts_its_notebook_is_refused(tmp_path):
    path = tmp_path / "04.ipynb"
    output = new_output("stream", name="stdout", text="held-out NLL: 1.579 before training, -0.2 after 5 steps\n")
    parameters = 'toy = "moons"\nblocks = 2\nhidden = 4\nclamp = 3.0\nsteps = 5\nseed = 0'
    cell = new_code_cell(parameters, outputs=[output], metadata={"tags": ["parameters"]})
    nbformat.write(new_notebook(cells=[cell], metadata=PYTHON), path)
    with pytest.raises(AdnError, match="printed NLL before training 1.579, its live figure has"):
        live_figures.flow_data(path, tmp_path)


def test_strokes_are_painted_and_erased():
    image = torch.full((3, 64, 64), 100, dtype=torch.uint8)
    once = painted(image, [STROKE])
    assert once[:, 32, 32].tolist() == [255, 0, 0] and once[:, 0, 0].tolist() == [100] * 3
    share = (once[0].float().mean().item() - 100) / 155
    assert abs(share - np.pi / 16) < 0.002  # a disc with a diameter of half the side
    assert torch.equal(painted(image, [STROKE, STROKE | {"size": 0.6, "colour": None}]), image)
    assert image.eq(100).all()
    with pytest.raises(AdnError, match="A stroke lacks colour"):
        painted(image, [{name: value for name, value in STROKE.items() if name != "colour"}])
