"""Slides made of executed notebooks: one page for each figure or small table, with the text that leads to it."""

import html
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from adnlib.book.report import POLICY, markdown_html, notebook_title
from adnlib.system.files import write_whole

WORDS = 100  # at most; of a longer text, only the last paragraph is shown
ROWS = 12  # at most, of a table
PRINTED = 400  # characters at most


def write_slides(executed: list[Path], page: Path) -> Path:
    """Writes executed notebooks as slides, HTML without scripts: Page Down turns a slide, printing gives a PDF.

    reveal.js, nbconvert's usual format, would need a network during the talk.
    """
    slides = []
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        slides.append(f"<section class='title'><h1>{html.escape(notebook_title(notebook))}</h1></section>")
        heading, text = "", ""
        for cell in notebook.cells[1:]:
            if cell.cell_type == "markdown":
                headings = re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
                heading, text = (headings[-1] if headings else heading), _lead(cell.source)
                continue
            printed = "".join(map(_printed, cell.get("outputs", [])))
            for shown in filter(None, map(_shown, cell.get("outputs", []))):
                words = markdown_html(f"## {heading}\n\n{text}", path.name)
                slides.append(f"<section><div>{words}</div><div class='shown'>{shown}</div>{printed}</section>")
                text = printed = ""
    write_whole(page, _PAGE.format(policy=POLICY, body="".join(slides)).encode())
    return page


def _lead(source: str) -> str:
    """The paragraphs of a Markdown cell, without headings and folded answers; only the last one if they are long."""
    unfolded = re.sub(r"<details>.*?</details>|^#+ [^\n]*", "", source, flags=re.DOTALL | re.MULTILINE)
    paragraphs = [part for part in re.split(r"\n\s*\n", unfolded.strip()) if part.strip()]
    return "\n\n".join(paragraphs if len(unfolded.split()) <= WORDS else paragraphs[-1:])


def _shown(output: NotebookNode) -> str:
    """A figure or a small table as HTML; "" for everything else."""
    data = output.get("data", {})
    if "image/png" in data:
        alt = html.escape(output.metadata.get("image/png", {}).get("alt", ""))
        return f'<img src="data:image/png;base64,{data["image/png"].strip()}" alt="{alt}">'
    table = data.get("text/html", "")
    return table if "<table" in table and table.count("<tr") <= ROWS + 1 else ""


def _printed(output: NotebookNode) -> str:
    """A short printed text as HTML."""
    text = output.get("text", "").strip() if output.get("name") == "stdout" else ""
    return f"<pre>{html.escape(text)}</pre>" if text and len(text) <= PRINTED else ""


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{policy}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AttentDifferNet: slides</title>
<style>
@page {{ size: 1280px 720px; margin: 0; }}
html {{ scroll-snap-type: y mandatory; }}
body {{ margin: 0; color: #1b1f24; font: 20px/1.4 system-ui, sans-serif; }}
section {{ box-sizing: border-box; width: 100vw; height: 100vh; padding: 40px 56px; scroll-snap-align: start;
  display: flex; flex-direction: column; gap: 12px; overflow: hidden; break-after: page; }}
@media print {{ section {{ width: 1280px; height: 720px; }} }}
.title {{ justify-content: center; align-items: center; text-align: center; }} .title h1 {{ font-size: 44px; }}
h2 {{ font-size: 28px; margin: 0; }} p {{ margin: 8px 0; }}
.shown {{ flex: 1; min-height: 0; display: flex; justify-content: center; align-items: center; }}
img {{ max-width: 100%; max-height: 100%; width: 1150px; object-fit: contain; }}
pre {{ white-space: pre-wrap; font-size: 15px; margin: 0; }}
table {{ border-collapse: collapse; font-size: 18px; }} th, td {{ padding: 4px 10px; }}
tr {{ border-bottom: 1px solid #d1d9e0; }}
a {{ color: inherit; }} a.anchor-link {{ display: none; }}
</style></head><body>{body}</body></html>
"""
