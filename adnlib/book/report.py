"""The report: executed notebooks as one HTML page that opens offline."""

import base64
import html
import io
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
from latex2mathml.converter import convert as mathml
from matplotlib.figure import Figure
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import markdown2html_mistune
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from adnlib.errors import AdnError
from adnlib.system.files import write_whole

# Names are escaped, and this holds for the rest: a browser runs no script and asks no server, whatever a page contains.
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">"
)


def write_report(executed: list[Path], summary: str, page: Path) -> Path:
    """Writes a summary (HTML) and executed notebooks, in order, as one HTML page without scripts or network access."""
    names = {path.stem: path.stem for path in executed}
    if trained := [name for name in names if name.startswith("07_train")]:
        names["07_train"] = trained[0]

    def inside(link: str) -> str | None:
        name, ending, _ = link.partition(".ipynb")
        return f"#{names[name]}" if ending and name in names else None

    entries, sections = [], []
    for path in executed:
        title, body = notebook_html(path)
        name = html.escape(path.stem)
        entries.append(f'<li><a href="#{name}">{html.escape(title)}</a><br>{name}</li>')
        sections.append(f'<section id="{name}"><p class="file">{name}</p>{links_to(body, inside)}</section>')
    navigation = f"<nav aria-label='Notebooks'><strong>AttentDifferNet</strong><ol>{''.join(entries)}</ol></nav>"
    heading = "AttentDifferNet: report"
    write_whole(page, html_page(heading, navigation, f"<h1>{heading}</h1>{summary}{''.join(sections)}").encode())
    return page


def html_page(title: str, navigation: str, main: str) -> str:
    """A page (title: text, the others: HTML) in the style of the report."""
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    style = f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}"
    return _PAGE.format(policy=POLICY, code_style=style, title=html.escape(title), navigation=navigation, main=main)


def notebook_html(path: Path) -> tuple[str, str]:
    """The title (text) and the content (HTML) of a notebook, without scripts."""
    exporter = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True)
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # a progress bar shows its last state
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):  # without a kernel, a panel is shown as its image
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        if cell.cell_type == "markdown":
            cell.source = formulas_to_mathml(cell.source, path.name)
    body, _ = exporter.from_notebook_node(notebook)
    return notebook_title(notebook), body


def figure_html(figure: Figure, alt: str, caption: str) -> str:
    """A matplotlib figure with its caption as HTML; the image is embedded."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/png;base64,{data}"
    escaped = html.escape(caption)
    return f'<figure><img src="{source}" alt="{html.escape(alt)}"><figcaption>{escaped}</figcaption></figure>'


def notebook_title(notebook: NotebookNode) -> str:
    """The text of the first heading."""
    heading = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    return heading[1] if heading else "untitled"


def markdown_html(source: str, name: str) -> str:
    """Markdown with formulas as HTML; `name` is that of the file, for error messages."""
    return markdown2html_mistune(formulas_to_mathml(source, name))


def formulas_to_mathml(source: str, name: str) -> str:
    """$…$ and $$…$$ as MathML, which browsers draw without a script; code is left alone."""

    def convert(match: re.Match) -> str:
        if match["code"]:
            return match["code"]
        if match["dollar"]:
            return "&#36;"  # a single $ is a currency sign
        try:
            return mathml(match["block"] or match["inline"], display="block" if match["block"] else "inline")
        except Exception as error:
            raise AdnError(f"{name}: the formula {match[0]} cannot be read ({error}): fix it.") from error

    code, block = r"(?P<code>```.*?```|`[^`\n]*`)", r"\$\$(?P<block>.+?)\$\$"
    pattern = rf"{code}|{block}|(?<![\\$\w])\$(?P<inline>[^$`\n]+?)\$(?!\d)|(?P<dollar>\$)"
    return re.sub(pattern, convert, source, flags=re.DOTALL)


def links_to(body: str, address: Callable[[str], str | None]) -> str:
    """HTML in which each link to a file has the address that `address` returns for it.

    None: no link, the text stays.
    """

    def changed(link: re.Match) -> str:
        if re.match(r"https?:|mailto:|#", link["to"]):
            return link[0]
        to = address(html.unescape(link["to"]))
        return "<a" if to is None else f'<a href="{html.escape(to)}"'

    return re.sub(r'<a\s+href="(?P<to>[^"]*)"', changed, body)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">{policy}<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --code: #f6f8fa; --link: #0b57a4; --paper: #fff;
  --error: #fff4e5; }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ color-scheme: dark; --ink: #e6edf3; --soft: #9aa5b1; --line: #3d444d; --code: #151b23; --link: #79b8ff;
    --paper: #0d1117; --error: #3a2300; }}
  img {{ background: #fff; }}
}}
body {{ margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.55 system-ui, sans-serif; }}
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
p, li, figcaption {{ max-width: 46rem; }}
figure {{ margin: 1rem 0; }} figcaption {{ color: var(--soft); font-size: 0.9rem; }}
pre {{ overflow-x: auto; font: 0.85rem/1.45 ui-monospace, monospace; margin: 0; }}
:not(pre) > code {{ background: var(--code); padding: 0.1em 0.3em; border-radius: 3px; font-size: 0.9em; }}
.input_area, .text_cell pre {{ background: var(--code); border: 1px solid var(--line); border-radius: 6px;
  padding: 0.6rem 0.8rem; margin: 0.8rem 0 0.4rem; }}
.input_area .highlight {{ background: none; }}
.output_area {{ margin: 0.4rem 0 0.8rem; overflow-x: auto; }} .output_area pre {{ white-space: pre-wrap; }}
.output_stderr {{ background: var(--error); padding: 0.4rem; }}
table {{ border-collapse: collapse; font-size: 0.9rem; margin: 0.8rem 0; display: block; overflow-x: auto; }}
th, td {{ padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }}
th, td {{ text-align: right; }}
.text_cell th, .text_cell td, th:first-child, td:first-child {{ text-align: left; }}
math[display="block"] {{ margin: 0.8rem 0; overflow-x: auto; }}
.headline {{ font-size: 1.15rem; }}
:focus-visible {{ outline: 2px solid var(--link); outline-offset: 2px; }}
@media print {{
  nav {{ display: none; }} main {{ margin: 0; padding: 0; max-width: none; }} body {{ font-size: 10pt; }}
  pre, :not(pre) > code {{ white-space: pre-wrap !important; overflow-wrap: anywhere; }}
  table {{ display: table; font-size: 7pt; }} th, td {{ padding: 0.1rem 0.25rem; overflow-wrap: anywhere; }}
  .output_area, pre, table {{ overflow: visible; }}
  h1, h2, h3 {{ break-after: avoid; }} figure, img, tr {{ break-inside: avoid; }}
}}
</style><style>{code_style}</style></head>
<body>{navigation}
<main>{main}</main></body></html>
"""
