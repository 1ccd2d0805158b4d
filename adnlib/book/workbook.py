"""The workbook: the formula sheet and every exercise without hints and solutions, as one page to print."""

import html
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from adnlib.book.chapters import NOTEBOOKS
from adnlib.book.report import POLICY, markdown_html, notebook_title
from adnlib.system.files import write_whole

RULED = 8  # lines for an answer in code
FEWER = 3  # lines for an answer in words


def write_workbook(page: Path, notebooks: Path = NOTEBOOKS) -> Path:
    """Writes the workbook, which needs neither scripts nor a network, as HTML; each lesson begins a new sheet."""
    sheets = [markdown_html((notebooks / "formulas.md").read_text(encoding="utf-8"), "formulas.md")]
    for path in sorted(notebooks.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if exercises := _exercises(notebook, path.name):
            first = _section(notebook, "A question first")
            parts = [f"<h1>{html.escape(notebook_title(notebook))}</h1><p class='file'>{path.stem}</p>"]
            parts += [markdown_html(first, path.name) + _lines(FEWER)] if first else []
            questions = re.findall(r"<summary>(.*?)</summary>", _section(notebook, "Check yourself"), re.DOTALL)
            asked = [f"<div class='task'>{markdown_html(q, path.name)}{_lines(FEWER)}</div>" for q in questions]
            parts += [*exercises, "<h2>Check yourself</h2>" if asked else "", *asked]
            sheets.append("".join(parts))
    body = "".join(f"<section>{sheet}</section>" for sheet in sheets)
    write_whole(page, _PAGE.format(policy=POLICY, body=body).encode())
    return page


def _exercises(notebook: NotebookNode, name: str) -> list[str]:
    """The text, the stub and ruled lines of each exercise as HTML."""
    found, text = [], ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = cell.source
        elif any(tag.startswith("stub:") for tag in cell.metadata.get("tags", [])):
            asked = re.sub(r"<details>.*?</details>", "", text[text.find("### ") :], flags=re.DOTALL)
            stub = "\n".join(line for line in cell.source.splitlines() if "NotImplementedError" not in line)
            code = f"<pre>{html.escape(stub)}</pre>{_lines(RULED)}"
            found.append(f"<div class='task'>{markdown_html(asked.replace('### ', '## ', 1), name)}{code}</div>")
    return found


def _section(notebook: NotebookNode, heading: str) -> str:
    """The Markdown below a heading of the second level, up to the next heading; "" if there is none."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    match = re.search(rf"^## {heading}\n.*?(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    return match[0] if match else ""


def _lines(count: int) -> str:
    return "<div class='line'></div>" * count


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{policy}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AttentDifferNet: workbook</title>
<style>
@page {{ size: A4; margin: 16mm 18mm; }}
body {{ margin: 0 auto; max-width: 46rem; color: #1b1f24; font: 15px/1.45 system-ui, sans-serif; }}
section {{ break-before: page; }} section:first-child {{ break-before: auto; }}
h1 {{ font-size: 1.4rem; margin: 0.5rem 0 0; }} h2 {{ font-size: 1.1rem; margin: 1.2rem 0 0.3rem; break-after: avoid; }}
.file {{ color: #59636e; font: 0.8rem ui-monospace, monospace; margin: 0 0 0.5rem; }}
.task {{ break-inside: avoid; }} .line {{ height: 1.9rem; border-bottom: 1px solid #aab2bb; }}
pre {{ background: #f6f8fa; border: 1px solid #d1d9e0; padding: 0.5rem; white-space: pre-wrap; font-size: 0.72rem; }}
math {{ font-size: 1.1em; }}
table {{ border-collapse: collapse; font-size: 0.85rem; width: 100%; }}
th, td {{ text-align: left; padding: 0.12rem 0.4rem; border-bottom: 1px solid #d1d9e0; }}
a {{ color: inherit; text-decoration: none; }} a.anchor-link {{ display: none; }}
</style></head><body>{body}</body></html>
"""
