"""The notebooks as one book: executed with papermill, gathered into one HTML page that opens offline."""

import html
import logging
import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import papermill
from latex2mathml.converter import convert as mathml
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from adnlib.errors import AdnError
from adnlib.files import ROOT, write_whole

NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "runs"
VARIANTS = (None, "se", "cbam")


@dataclass(frozen=True)
class Chapter:
    """One execution of one notebook. `name` is the executed notebook's, `notebook` the source's."""

    notebook: str
    parameters: dict = field(default_factory=dict)
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or self.notebook


def training_chapters(**parameters) -> list[Chapter]:
    """07_train once for each variant."""
    return [Chapter("07_train", {"attention": v, **parameters}, f"07_train_{v or 'none'}") for v in VARIANTS]


def main_path() -> list[Chapter]:
    """What `make run` executes."""
    return [Chapter("00_start_here"), *training_chapters(), Chapter("08_results")]


def whole_book() -> list[Chapter]:
    """What `make book` executes: every notebook, in the order of their numbers."""
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    return [c for name in names for c in (training_chapters() if name == "07_train" else [Chapter(name)])]


def check_notebook(path: Path, parameters: Iterable[str]) -> NotebookNode:
    """Reads a notebook; AdnError unless one cell is tagged `parameters` and assigns each of `parameters`.

    papermill itself runs a notebook without that cell with its defaults, and only logs an unknown parameter: a run
    would pass that never was what it says.
    """
    notebook = nbformat.read(path, as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise AdnError(f"{path.name} has {len(tagged)} cells tagged 'parameters': tag exactly one.")
    known = papermill.inspect_notebook(str(path))
    for name in parameters:
        if name not in known:
            raise AdnError(f"{path.name} has no parameter {name!r}: choose from {', '.join(known)}.")
    return notebook


def execute(chapter: Chapter, folder: Path, label: str = "", notebooks: Path = NOTEBOOKS) -> Path:
    """Executes a chapter with papermill into `folder`; a bar shows notebook, cell and seconds.

    A failing cell raises AdnError with notebook, cell and error; the notebook executed so far is kept beside it.
    """
    source, target = notebooks / f"{chapter.notebook}.ipynb", folder / f"{chapter.title}.ipynb"
    check_notebook(source, chapter.parameters)
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # a debugger's remark in every kernel's start
    bar = {"desc": f"{label}{chapter.title}", "unit": "cell", "leave": True}
    try:
        with _kernel_settings() as config:
            papermill.execute_notebook(
                str(source), str(target), chapter.parameters, kernel_name="python3", cwd=str(notebooks),
                progress_bar=bar, config=config,
            )  # fmt: skip
    except PapermillExecutionError as error:
        raise AdnError(
            f"{source.name} failed in its cell [{error.exec_count}] ({error.ename}: {error.evalue}); "
            f"{target} shows where."
        ) from error
    return target


@contextmanager
def _kernel_settings() -> Iterator[Config]:
    """Sockets in a private folder instead of open ports: nobody else on the machine can listen, and the kernel need
    not warn of it. Windows has no such sockets and keeps the ports."""
    with tempfile.TemporaryDirectory(prefix="adn-") as folder:
        unix = os.name == "posix"
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}} if unix else {})


def execute_all(chapters: list[Chapter], folder: Path) -> dict[str, float]:
    """Executes chapters one after the other; seconds by title."""
    seconds = {}
    for number, chapter in enumerate(chapters, 1):
        start = time.perf_counter()
        execute(chapter, folder, f"{number}/{len(chapters)} ")
        seconds[chapter.title] = time.perf_counter() - start
    return seconds


def write_report(executed: list[Path], summary: str, page: Path) -> Path:
    """One self-contained HTML page of executed notebooks, in order, under a summary (HTML). No script, no network."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # a progress bar shows its last state
    entries, sections = [], []
    for path in executed:
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata.pop("widgets", None)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):  # without a kernel a panel is its picture
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            if cell.cell_type == "markdown":
                cell.source = _formulas_to_mathml(cell.source, path.name)
        body, _ = exporter.from_notebook_node(notebook)
        title = notebook_title(notebook)
        entries.append(f'<li><a href="#{path.stem}">{html.escape(title)}</a><br>{path.stem}</li>')
        sections.append(f'<section id="{path.stem}"><p class="file">{path.stem}</p>{_local_links(body)}</section>')
    text = _PAGE.format(
        code_style=HtmlFormatter(style="default").get_style_defs(".highlight"),
        summary=summary,
        entries="".join(entries),
        sections="".join(sections),
    )
    write_whole(page, text.encode())
    return page


def notebook_title(notebook: NotebookNode) -> str:
    """The text of the first heading."""
    heading = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    return heading[1] if heading else "untitled"


def _formulas_to_mathml(source: str, name: str) -> str:
    """$…$ and $$…$$ as MathML, which browsers draw without a script; code is left alone."""

    def convert(match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        if match["dollar"]:
            return "&#36;"  # a lone one is money
        try:
            return mathml(match["block"] or match["inline"], display="block" if match["block"] else "inline")
        except Exception as error:
            raise AdnError(f"{name}: the formula {match[0]} cannot be read ({error}): mend it.") from error

    code, block = r"(?P<code>```.*?```|`[^`\n]*`)", r"\$\$(?P<block>.+?)\$\$"
    pattern = rf"{code}|{block}|(?<![\\$\w])\$(?P<inline>[^$`\n]+?)\$(?!\d)|(?P<dollar>\$)"
    return re.sub(pattern, convert, source, flags=re.DOTALL)


def _local_links(body: str) -> str:
    """Links between notebooks become links inside the page (to the first training, for 07_train)."""
    return re.sub(r'href="(07_train|\w+)\.ipynb"', lambda m: f'href="#{m[1]}{"_none" * (m[1] == "07_train")}"', body)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>AttentDifferNet: report</title>
<style>
:root {{ --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --code: #f6f8fa; --link: #0b57a4; }}
body {{ margin: 0; color: var(--ink); background: #fff; font: 16px/1.55 system-ui, sans-serif; }}
nav {{ position: fixed; top: 0; bottom: 0; width: 15rem; padding: 1.2rem; overflow: auto; font-size: 0.85rem;
  border-right: 1px solid var(--line); box-sizing: border-box; color: var(--soft); }}
nav ol {{ padding-left: 1.2rem; }} nav li {{ margin: 0.5rem 0; }}
main {{ margin-left: 15rem; padding: 1rem 2rem; max-width: 64rem; box-sizing: border-box; }}
@media (max-width: 75rem) {{
  nav {{ position: static; width: auto; border: 0; border-bottom: 1px solid var(--line); }}
  main {{ margin-left: 0; padding: 1rem; }}
}}
section {{ border-top: 1px solid var(--line); margin-top: 3rem; padding-top: 1rem; }}
.file {{ color: var(--soft); font: 0.8rem ui-monospace, monospace; margin: 0; }}
a {{ color: var(--link); }} a.anchor-link {{ display: none; }} img {{ max-width: 100%; height: auto; }}
p, li {{ max-width: 46rem; }}
pre {{ overflow-x: auto; font: 0.85rem/1.45 ui-monospace, monospace; margin: 0; }}
:not(pre) > code {{ background: var(--code); padding: 0.1em 0.3em; border-radius: 3px; font-size: 0.9em; }}
.input_area, .text_cell pre {{ background: var(--code); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.6rem 0.8rem; margin: 0.8rem 0 0.4rem; }}
.input_area .highlight {{ background: none; }}
.output_area {{ margin: 0.4rem 0 0.8rem; overflow-x: auto; }} .output_area pre {{ white-space: pre-wrap; }}
.output_stderr {{ background: #fff4e5; padding: 0.4rem; }}
table {{ border-collapse: collapse; font-size: 0.9rem; margin: 0.8rem 0; display: block; overflow-x: auto; }}
th, td {{ padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }}
th, td {{ text-align: right; }}
.text_cell th, .text_cell td, th:first-child, td:first-child {{ text-align: left; }}
math[display="block"] {{ margin: 0.8rem 0; }}
</style><style>{code_style}</style></head>
<body><nav><strong>AttentDifferNet</strong><ol>{entries}</ol></nav>
<main><h1>AttentDifferNet: report</h1>{summary}{sections}</main></body></html>
"""
