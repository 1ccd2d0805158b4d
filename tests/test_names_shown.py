"""Names are not markup: hostile ones go through every writer of HTML and through every figure."""

import ast
import io
import json
from html.parser import HTMLParser
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import save_image
from matplotlib import pyplot as plt
from matplotlib.text import Text
from nasty import LEGAL, NASTY, PLAIN, each_name
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from adnlib import AdnError, plots
from adnlib.book.chapters import NOTEBOOKS
from adnlib.book.report import figure_html, write_report
from adnlib.imagesets.reading import ANOMALOUS, NORMAL, Sample
from adnlib.panels import run_browser, score_pictures, variants
from adnlib.panels.loaded_run import category_names
from adnlib.panels.panel import Panel, panel_of
from adnlib.panels.pictures import png, sentence

# HTML


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and apart from them all text and values."""

    def __init__(self, page: str):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *(name for name, _ in attrs)))
        self.words += [value for _, value in attrs if value]

    def handle_data(self, data):
        self.words.append(data)

    def handle_comment(self, data):
        self.elements.append(("comment",))

    handle_decl = unknown_decl = handle_pi = handle_comment


def same_structure(write, names=NASTY) -> None:
    """`write(name)` -> HTML has the same elements for every name, and its text contains the name."""
    expected = Structure(write(PLAIN)).elements
    for name in names:
        page = Structure(write(name))
        assert page.elements == expected, name
        assert name.strip() in "".join(page.words) or not name.isprintable(), name


def test_tables():
    frame = pd.DataFrame({"a": [1.0], "b": [2]})
    same_structure(lambda name: plots.table(frame.assign(a=name)).to_html(uuid="x"))
    same_structure(lambda name: plots.table(frame.rename(columns={"b": name})).to_html(uuid="x"))
    ours = pd.DataFrame({"variant": ["v"], "category": ["c"], "mean": [0.5], "sd": [0.1], "seeds": [2]})
    theirs = pd.DataFrame({"method": ["m"], "category": ["c"], "auroc": [90.0], "source": ["s"]})
    for column in ("variant", "category"):
        same_structure(lambda name, c=column: plots.paper_table(ours.assign(**{c: name}), theirs).to_html(uuid="x"))
    for column in ("method", "category", "source"):
        same_structure(lambda name, c=column: plots.paper_table(ours, theirs.assign(**{c: name})).to_html(uuid="x"))


def test_report(tmp_path):
    figure = sentence("x")

    def write(name):
        html = plots.table(pd.DataFrame({"category": [name]})).to_html(uuid="x")
        outputs = [
            new_output("stream", name="stdout", text=f"{name}\n"),
            new_output("execute_result", data={"text/plain": name, "text/html": html}),
            new_output("display_data", data={"image/png": "aGVsbG8="}, metadata={"image/png": {"alt": name}}),
            new_output("error", ename="AdnError", evalue=name, traceback=[name]),
        ]
        cells = [new_markdown_cell("# Title"), new_code_cell(f"category = {json.dumps(name)}", outputs=outputs)]
        for number, cell in enumerate(cells):
            cell.id = str(number)
        path = tmp_path / "07_train.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        page = write_report([path], figure_html(figure, name, name), tmp_path / "report.html").read_text("utf-8")
        assert "<script" not in page and "default-src 'none'" in page
        return page[page.index("<main>") :].replace('<span class="se">', "").replace("</span>", "")

    expected = [tag for tag in Structure(write(PLAIN)).elements if tag[0] != "span"]  # spans: colours of code and text
    for name in NASTY:
        assert [tag for tag in Structure(write(name)).elements if tag[0] != "span"] == expected, name


def test_the_reports_own_names(tmp_path):
    """The name of a notebook is that of a file in notebooks/."""

    def write(name):
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=[new_markdown_cell("# Title", id="a")]), path)
        return write_report([path], "", tmp_path / "report.html").read_text(encoding="utf-8")

    same_structure(write, [name for name in LEGAL if len(name.encode()) < 240])


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_escape_what_they_insert_into_html(path):
    for cell in nbformat.read(path, as_version=4).cells:
        calls = ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ()
        for call in calls:
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("HTML", "Markdown"):
                inserted = [part.value for part in ast.walk(call) if isinstance(part, ast.FormattedValue)]
                assert all(getattr(getattr(v, "func", None), "id", "") == "escape" for v in inserted), cell.source


def loaded(name: str) -> SimpleNamespace:
    """What the panels' words read of a run, with a name wherever there is one."""
    test = pd.DataFrame({"label": [NORMAL, ANOMALOUS], "score": [1.0, 2.0]})
    run = SimpleNamespace(calibration=test)
    images = [SimpleNamespace(path=SimpleNamespace(name=name), label=label) for label in test["label"]]
    dataset, order = SimpleNamespace(test=images), np.array([0, 1])
    return SimpleNamespace(name=name, test=test, threshold=1.5, run=run, dataset=dataset, order=order)


@pytest.mark.filterwarnings("ignore:Glyph")
def test_panels_words(monkeypatch, tmp_path):
    monkeypatch.setattr(score_pictures, "load_run", loaded)
    same_structure(lambda name: score_pictures.decisions(name, 2, b"", 1.5, 1, 1, 1))
    same_structure(lambda name: variants.verdict_table([loaded(name)], [2.0], [1.0]))
    row = {"run": PLAIN, "status": "done", "variant": PLAIN, "category": PLAIN, "error": PLAIN, "auroc": 0.5}
    for column in ("run", "status", "variant", "category", "error"):

        def browse(name, column=column):
            ledger = pd.DataFrame([{**row, column: name}])
            return run_browser.table(ledger, ledger["run"][0], "", run_browser.ANY, "name")

        same_structure(browse)

    def fail(name):
        raise AdnError(f"The category {name} is missing.")

    monkeypatch.undo()
    same_structure(lambda name: panel_of(fail, name).message.value)


def test_a_drawing_that_fails_says_so_in_text():
    def draw(value):
        if value != "fine":
            raise ValueError(value)
        return sentence("fine")

    import ipywidgets

    panel = Panel(draw, value=ipywidgets.Text("fine"))

    def message(name):
        with pytest.raises(ValueError):
            panel.controls["value"].value = name or " "
        return panel.message.value

    same_structure(message)


def test_labels_of_runs_are_distinct():
    runs = [SimpleNamespace(parameters={"dataset": "folder:/data", "category": name}) for name in NASTY]
    assert len(set(category_names(runs))) == len(NASTY)


# Figures


@pytest.fixture
def samples(tmp_path) -> list[Sample]:
    """One image under every name."""
    path = save_image(tmp_path / "000.png", np.full((16, 16, 3), 99, np.uint8))
    return [Sample(path, ANOMALOUS, name) for name in NASTY]


def drawn(figure) -> list[str]:
    """Draws a figure and returns its texts; none is parsed as a formula or left out of a legend."""
    png(figure) if plt.fignum_exists(getattr(figure, "number", -1)) else figure.savefig(io.BytesIO())
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    assert not [text for text in texts if "$" in text.get_text() and text.get_parse_math()]
    assert all(line.isprintable() and len(line) < 100 for text in texts for line in text.get_text().split("\n"))
    return [text.get_text() for text in texts]


@pytest.mark.filterwarnings("ignore:Glyph", "ignore:.*constrained_layout", "ignore:.*[Tt]ight.layout")
def test_figures(samples):
    names, few = [name for name in NASTY if name], samples[:12]
    maps = np.zeros((len(few), 4, 4))
    for part in (samples[:30], samples[30:]):
        drawn(plots.image_grid(part, [sample.defect for sample in part], "Names", columns=6))
        drawn(plots.anomaly_maps(part, {"map": np.zeros((len(part), 4, 4))}, "Names"))
    images = torch.zeros(len(few), 3, 8, 8, dtype=torch.uint8)
    drawn(plots.map_panels(images, None, {"map": maps}, [sample.defect for sample in few], "Names"))
    for sample in samples[:: len(samples) // 6]:
        drawn(plots.gate_maps(sample, {"map": np.ones((4, 4))}, "Names"))
    scores = pd.DataFrame({"label": [0, 1, 0, 1], "score": [1.0, 2.0, 3.0, 4.0]})
    history = pd.DataFrame({"epoch": [1, 2], "train_nll": [2.0, 1.0], "validation_nll": [2.0, 1.5]})
    for draw in (
        lambda: plots.roc_curves(dict.fromkeys(names, scores), "Names"),
        lambda: plots.learning_curves(dict.fromkeys(names, (history, 1)), "Names"),
    ):
        figure = draw()
        legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        begins = [line.removesuffix(", training (mean)") for line in legend]
        assert set(map(plots.short_name, names)) <= set(begins)  # also the name that begins with "_"
        drawn(figure)
    numbers = {"difference": 0.1, "low": 0.05, "high": 0.2}
    drawn(plots.forest(pd.DataFrame([{"name": name, **numbers} for name in names]), "Names"))
    intervals = pd.DataFrame([{"variant": name, "AUROC": 0.8, "95 % from": 0.7, "to": 0.9} for name in names])
    drawn(plots.auroc_intervals(intervals, "Names"))
    rows = [{"dataset": "d", "category": name, "variant": "v", **numbers} for name in names[:20]]
    drawn(plots.matrix(pd.DataFrame(rows), {"v": "v"}, "Names"))
    plt.close("all")


@each_name
@pytest.mark.filterwarnings("ignore:Glyph")
def test_sentences_and_short_names(name):
    """A panel's message without a kernel, and the headings that notebooks make from a category."""
    text = plots.short_name(name)
    assert text.isprintable() and len(text) <= 61 and not text.startswith("_")
    figure = sentence(f"The category {name} is missing.")
    figure.savefig(io.BytesIO())
    assert not figure.texts[0].get_parse_math() and figure.texts[0].get_text().replace("\n", "").isprintable()
