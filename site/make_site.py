"""Builds the site into build/site from the notebooks that `adn book` executed, without a network.

    .venv/bin/python site/make_site.py [--book runs/book] [--out build/site] [--no-live]

No notebook is executed. The live page's models are trained if runs/site does not have them yet (some minutes, once).
"""

import argparse
import ast
import hashlib
import html
import importlib
import inspect
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd
from live_figures import PLACES, write_figures
from live_models import export_live, live_runs
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from npm_packages import write_engine
from sphinx.cmd.build import build_main

from adnlib.book.chapters import NOTEBOOKS, whole_book
from adnlib.book.report import formulas_to_mathml
from adnlib.errors import AdnError
from adnlib.experiments.ledger import read_shared
from adnlib.experiments.runs import read_runs
from adnlib.system.files import scratch_folder, whole_folder
from adnlib.system.folders import DATA, ROOT

DATASET, CATEGORY = "wild_parts", "bracket_plain"  # of the live page; on bracket_wild few defects are noticed
SITE = Path(__file__).resolve().parent
# The pages of the reference: the road in its order, then the packages.
ROAD = ["datasets", "views", "pooling", "features", "flow", "presets", "differnet"]
ROAD += ["training", "intervals", "calibration", "evaluation"]
PACKAGES = ["attention", "models", "detectors", "engine", "experiments", "explain", "inspection", "imagesets"]
PACKAGES += ["plots", "panels", "book", "system"]
# Documents of the project that are pages of the site: path -> page. The other links of documents become plain text.
GUIDES = {
    "README.md": "about",
    "CONTRIBUTING.md": "contributing",
    "notebooks/README.md": "teaching",
    "notebooks/formulas.md": "formulas",
    "notebooks/glossary.md": "glossary",
    "data/README.md": "data",
    "data/evidence.md": "evidence",
}
LEDGER = ["variant", "dataset", "category", "preset", "seed", "auroc", "auroc_low", "auroc_high", "chosen_epoch"]
LEDGER += ["seconds", "run"]


def build(book: Path, out: Path, live: Path | None, quiet: bool = False) -> None:
    """Builds the site into the folder `out`, replacing an older one; `live` has the live page's models, or None."""
    executed = [book / f"{chapter.title}.ipynb" for chapter in whole_book()]
    executed = [path for path in executed if path.exists()]
    if not executed:
        raise AdnError(f"{book} has no executed notebooks: run `make book` first.")
    with scratch_folder(out.parent) as scratch, whole_folder(out) as new:
        source = scratch / "source"
        write_sources(source, executed, live)
        options = ["-W", "--keep-going", "-b", "html", "-d", str(scratch / "doctrees")] + ["-q"] * quiet
        if build_main([*options, str(source), str(new)]):
            raise AdnError("Sphinx reports the problems above: fix them and build again.")
        (new / ".buildinfo").unlink(missing_ok=True)


def write_sources(source: Path, executed: list[Path], live: Path | None) -> None:
    """Everything that Sphinx reads."""
    source.mkdir()
    for name in ("conf.py", "docstrings.py"):
        shutil.copy(SITE / name, source)
    for name in ("_static", "_templates"):
        shutil.copytree(SITE / name, source / name)
    shutil.copy(SITE / "live" / "icon.svg", source / "_static")
    pages = {path.stem: nbformat.read(path, as_version=4) for path in executed}
    lessons = lessons_by_object(pages)
    first = {lesson_of(name): name for name in reversed(pages)}
    facts = {"made_from": made_from(), "lessons_by_object": lessons, "pages": first}
    (source / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.copytree(SITE / "figures", source / "_static" / "figures")
    figures = write_figures(source / "_static" / "figures", {path.stem: path for path in executed}, ROOT / "runs")
    for name, notebook in pages.items():
        if name in figures:
            insert_figure(notebook, figures[name])
        text = nbformat.writes(page(notebook, name, lessons, set(pages)))
        (source / f"{name}.ipynb").write_text(text, encoding="utf-8")
    guides = [write_guide(source, path, name, set(pages)) for path, name in GUIDES.items() if (ROOT / path).exists()]
    write_ledger(source)
    reference = write_reference(source)
    write_contents(source, list(pages), guides, reference)
    extra = source / "extra"
    extra.mkdir()
    write_first_page(extra, live, facts["made_from"])


def made_from() -> str:
    """Which commit and which data a page was made from, as HTML."""

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return result.stdout.strip() if result.returncode == 0 else ""

    commit = git("log", "-1", "--format=%h of %cs") or "unknown"
    changed = " with uncommitted changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    tables = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(DATA.glob("*.csv")))).hexdigest()
    images = {
        f"{run.config.dataset} / {run.config.category}": run.facts["images_digest"]
        for root in (ROOT / "runs", ROOT / "runs" / "site")
        for run in read_runs(root)
        if "images_digest" in run.facts and ":" not in run.config.dataset
    }
    sets = [f"{html.escape(name)} {digest[:8]}" for name, digest in sorted(images.items())]
    return f"Made from commit {commit}{changed}; digests of the data: {', '.join(['tables ' + tables[:8], *sets])}."


def page(notebook: NotebookNode, name: str, lessons: dict[str, list[str]], pages: set[str]) -> NotebookNode:
    """An executed notebook as a page: formulas as MathML, panels as their first image, links within the site."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        if cell.cell_type == "markdown":
            cell.source = notebook_links(formulas_to_mathml(cell.source, name), pages)
    used = sorted(key for key, names in lessons.items() if lesson_of(name) in names)
    if used:
        links = [f"- {{py:obj}}`{key.rpartition('.')[2]} <{key}>`" for key in used]
        notebook.cells.append(new_markdown_cell("\n".join(["## In the reference", "", *links])))
    return notebook


def insert_figure(notebook: NotebookNode, figure: str) -> None:
    """Inserts a live figure before the heading that live_figures.PLACES names, or at the end."""
    heading = PLACES[figure][1]
    places = [k for k, cell in enumerate(notebook.cells) if cell.cell_type == "markdown" and heading in cell.source]
    place = places[0] if places else len(notebook.cells)
    before, heading, after = notebook.cells[place].source.partition(heading) if places else ("", "", "")
    box = f'<div class="live-figure" data-figure="{figure}"></div>'
    script = '<script type="module" src="_static/figures/mount.js"></script>'
    cells = [new_markdown_cell(f"### Live\n\nThis figure computes in your browser.\n\n{box}\n{script}")]
    if before.strip():
        cells.insert(0, new_markdown_cell(before))
    if places:
        notebook.cells[place].source = heading + after
    notebook.cells[place:place] = cells


def lesson_of(name: str) -> str:
    """The notebook of a page: 07_train for 07_train_se."""
    return "07_train" if name.startswith("07_train") else name


def notebook_links(text: str, pages: set[str]) -> str:
    """Links between notebooks and to documents, as links between pages."""

    def replace(match: re.Match) -> str:
        name, anchor = match["name"], match["anchor"] or ""
        name = "07_train_none" if name == "07_train" else name
        return f"]({name}.ipynb{anchor})" if name in pages else "](book.md)"

    text = re.sub(r"\]\((?P<name>\d\d_\w+)\.ipynb(?P<anchor>#[^)]*)?\)", replace, text)
    return document_links(text, NOTEBOOKS)


def document_links(text: str, folder: Path) -> str:
    """Relative links of a document in `folder` to other documents of the project, as links between pages."""

    def replace(match: re.Match) -> str:
        target, _, anchor = match["target"].partition("#")
        path = os.path.relpath(folder / target, ROOT) if target else ""
        if not target or target.endswith(".ipynb"):
            return match[0]
        if path in GUIDES and (ROOT / path).exists():
            return f"{match['text']}({GUIDES[path]}.md{'#' + anchor if anchor else ''})"
        if path.endswith((".png", ".csv", ".cff")):
            return f"{match['text']}({Path(path).name})"
        return match["text"].strip("![]")

    return re.sub(r"(?P<text>!?\[[^\]]*\])\((?P<target>(?![a-z]+:)[^)\s]+)\)", replace, text)


def lessons_by_object(pages: dict[str, NotebookNode]) -> dict[str, list[str]]:
    """{"adnlib.module.name": notebooks that use this class or function}."""
    found: dict[str, set[str]] = {}
    for name, notebook in pages.items():
        aliases: dict[str, object] = {}
        for cell in notebook.cells:
            if cell.cell_type == "code":
                for thing in used_objects(cell.source, aliases):
                    key = f"{thing.__module__}.{thing.__qualname__}"
                    if key.startswith("adnlib.") and ".lessons." not in key and "<" not in key:
                        found.setdefault(key, set()).add(lesson_of(name))
    return {key: sorted(names) for key, names in sorted(found.items())}


def used_objects(source: str, aliases: dict[str, object]) -> Iterator:
    """The classes and functions of adnlib that a cell names. `aliases`: what the notebook's names stand for so far."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:  # a magic command
        return
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name.split(".")[0] == "adnlib":
                    aliases[one.asname or "adnlib"] = importlib.import_module(one.name if one.asname else "adnlib")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "adnlib":
            for one in node.names:
                module = importlib.import_module(node.module)
                thing = getattr(module, one.name, None) or importlib.import_module(f"{node.module}.{one.name}")
                aliases[one.asname or one.name] = thing
                if inspect.isclass(thing) or inspect.isfunction(thing):
                    yield thing
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            module = aliases[node.value.id]
            thing = getattr(module, node.attr, None) if inspect.ismodule(module) else None
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield thing


def write_guide(source: Path, path: str, name: str, pages: set[str]) -> str:
    """Writes a document of the project as a page, with the files that it shows; returns the name of the page.

    pages: the notebooks that are pages, see `notebook_links`.
    """
    text = formulas_to_mathml((ROOT / path).read_text(encoding="utf-8"), path)
    folder = (ROOT / path).parent
    text = notebook_links(text, pages) if folder == NOTEBOOKS else document_links(text, folder)
    for file in re.findall(r"\]\(([\w.-]+\.(?:png|csv|cff))\)", text):
        shutil.copy(ROOT / file if (ROOT / file).exists() else DATA / file, source / file)
    if name == "evidence":
        text += "\n## All runs\n\nThe table is sorted by a click on a heading: [every run](ledger.md).\n"
    (source / f"{name}.md").write_text(text, encoding="utf-8")
    return name


def write_ledger(source: Path) -> None:
    """The page with all runs of data/ledger.csv."""
    table = read_shared(DATA / "ledger.csv")
    shown = table[[column for column in LEDGER if column in table]].copy()
    for column in shown.select_dtypes("float"):
        shown[column] = shown[column].map(lambda x: "" if pd.isna(x) else f"{x:.4g}")
    names = {"auroc": "AUROC", "auroc_low": "from", "auroc_high": "to", "chosen_epoch": "epoch"}
    body = shown.rename(columns=names).to_html(index=False, na_rep="", table_id="ledger", border=0)
    lines = [
        "# Every run of the evidence",
        "",
        f"The {len(table)} runs of [ledger.csv](ledger.csv), from which [the evidence](evidence.md) is computed.",
        "Select a heading to sort by it, again for the reverse order. The columns *from* and *to* are the ends of a",
        "95 % interval over test images.",
        "",
        "```{raw} html",
        '<div class="ledger">',
        body,
        '</div><script type="module" src="_static/ledger.js"></script>',
        "```",
        "",
    ]
    (source / "ledger.md").write_text("\n".join(lines), encoding="utf-8")
    shutil.copy(DATA / "ledger.csv", source / "ledger.csv")


def write_reference(source: Path) -> list[str]:
    """A page for each module of the road and for each package; returns the names of the pages."""
    names = []
    for room in [*ROAD, *PACKAGES]:
        folder = ROOT / "adnlib" / room
        files = sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
        modules = [f"adnlib.{room}" + ("" if f.stem in ("__init__", room) else f".{f.stem}") for f in files]
        title = f"adnlib.{room}"
        lines = [title, "=" * len(title), ""]
        for module in modules:
            if module != title:
                lines += [module, "-" * len(module), ""]
            lines += [f".. automodule:: {module}", "   :members:", "   :ignore-module-all:", ""]
        names.append(f"api_{room}")
        (source / f"{names[-1]}.rst").write_text("\n".join(lines), encoding="utf-8")
    return names


def write_contents(source: Path, notebooks: list[str], guides: list[str], reference: list[str]) -> None:
    """The first page of the book, with the tables of contents."""
    entries = [entry(name) for name in notebooks]
    parts = {"The notebooks": entries, "The evidence": ["evidence", "ledger"], "Guides": [], "Reference": reference}
    parts["Guides"] = [entry(name) for name in guides if name != "evidence"]
    lines = [(SITE / "book.md").read_text(encoding="utf-8")]
    for caption, names in parts.items():
        lines += ["```{toctree}", f":caption: {caption}", ":maxdepth: 1", "", *names, "```", ""]
    (source / "book.md").write_text("\n".join(lines), encoding="utf-8")


def entry(name: str) -> str:
    """The entry of a page in the table of contents, with a title if its heading does not say which page it is."""
    if name.startswith("07_train_"):
        attention = name.removeprefix("07_train_")
        return f"Train one variant: {'no attention' if attention == 'none' else attention.upper()} <{name}>"
    return "About the project <about>" if name == "about" else name


def write_first_page(extra: Path, live: Path | None, made: str) -> None:
    """The live page, or without its models a page that leads to the book."""
    if live is None:
        (extra / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=book.html">')
        return
    text = (SITE / "index.html").read_text(encoding="utf-8").replace("<!-- made from -->", made)
    (extra / "index.html").write_text(text, encoding="utf-8")
    shutil.copytree(SITE / "live", extra / "live")
    shutil.copytree(live, extra / "live" / "models")
    description = extra / "live" / "models" / "models.json"
    about = json.loads(description.read_text(encoding="utf-8"))
    about["engine"] = f"ort/{write_engine(extra / 'live' / 'ort')}"
    description.write_text(json.dumps(about), encoding="utf-8")


def live_models(root: Path, dataset: str = DATASET, category: str = CATEGORY, **config) -> Path:
    """The folder with the live page's models, exported from runs under `root`; once for the same runs."""
    runs = live_runs(root, dataset, category, **config)
    key = hashlib.sha256("".join(run.facts["digest"] for run in runs.values()).encode())
    key.update((SITE / "live_models.py").read_bytes())
    folder = root / "exported"
    mark = folder / "runs.sha256"
    if not mark.exists() or mark.read_text() != key.hexdigest():
        with whole_folder(folder) as new:
            export_live(runs, new)
            (new / mark.name).write_text(key.hexdigest())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--book", type=Path, default=ROOT / "runs" / "book", help="the executed notebooks")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="the folder to write")
    parser.add_argument("--no-live", action="store_true", help="leave out the live page")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "site", help="the runs of the live page")
    arguments = parser.parse_args()
    live = None if arguments.no_live else live_models(arguments.runs)
    build(arguments.book, arguments.out.resolve(), live)
    print(f"site       {arguments.out.resolve() / 'index.html'}")


if __name__ == "__main__":
    main()
