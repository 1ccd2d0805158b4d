"""The lessons 01 to 06: one anatomy, and the code that readers build is the library's."""

import ast
import re

import nbformat
import pytest
import torch
from test_exercises import LESSONS
from test_notebooks import solved

import adnlib
from adnlib.book.chapters import NOTEBOOKS
from adnlib.features import MultiScaleAlexNet
from adnlib.flow import build_flow
from adnlib.lessons.exercise import exercises
from adnlib.views import quarter_turns

SECTIONS = [
    "A question first",
    "Now the library's version",
    "On real images",
    "Move it",
    "What could mislead us",
    "Summary",
    "Check yourself",
    "References",
]
NUMBERED = [lesson for lesson in LESSONS if "01" <= lesson[:2] <= "06"]
# A measured number in prose would contradict the cells as soon as a seed or a data set changes.
MEASURED = re.compile(r"(?<![\w.])0?\.\d{2,}|\b\d+(?:\.\d+)? ?%|\bAUROC (?:of )?\d")
# A cell in which the reader types a prediction: names that are None, "" or a list of these, with a comment.
TYPED = re.compile(r'([\w, ]+ = (None|""|\[None[None, ]*\])(, None|, "")*( *#.*)?\n?)+')
KNOWN = re.compile(r"(95|70|100) %|0\.(05|25|636)\b")  # settings and constants of formulas, not results


def read(lesson):
    return nbformat.read(NOTEBOOKS / f"{lesson}.ipynb", as_version=4)


def prose(cell):
    """A markdown cell without code, formulas and links."""
    return re.sub(r"```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|arXiv [\d.]+", "", cell.source, flags=re.DOTALL)


def anatomy(notebook) -> list[str]:
    """What a lesson lacks."""
    cells, found = notebook.cells, []
    markdown = [cell for cell in cells if cell.cell_type == "markdown"]
    text = "\n\n".join(cell.source for cell in markdown)
    headings = re.findall(r"^(#+) (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    titles = [title for _, title in headings]
    read = [cell for cell in cells if not TYPED.fullmatch(cell.source)]
    if not 30 <= len(read) <= 60:
        found.append(f"{len(read)} cells, not 30 to 60")
    answers = sum(cell.source.count("predictions.answer(") for cell in cells)
    if len(read) < len(cells) and answers < text.count("**Predict"):
        found.append("a prediction is not answered")
    for part in ("# ", "After this notebook you can", "*You need:*", "*Time:*"):
        if part not in cells[0].source:
            found.append(f"the first cell lacks {part!r}")
    levels = [len(marks) for marks, _ in headings]
    if levels[0] != 1 or levels.count(1) != 1 or any(b > a + 1 for a, b in zip(levels, levels[1:], strict=False)):
        found.append("headings: one title, then no level skipped")
    places = [titles.index(section) if section in titles else -1 for section in SECTIONS]
    found += [
        f"the section {section!r} is missing" for section, place in zip(SECTIONS, places, strict=True) if place < 0
    ]
    ends = places[4:]
    if ends != sorted(ends) or places[0] != 1:
        found.append("sections are out of order")
    if "**Predict" not in text:
        found.append("nothing is predicted")
    if text.count("<summary>Hint") != 3 * sum(title.startswith("Exercise") for title in titles):
        found.append("not every exercise has three hints")
    setup = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])) + 1
    lines = [line for line in cells[setup].source.splitlines() if line.strip()]
    if len(lines) > 8 or "torch.__version__" not in cells[setup].source or "load_dataset" not in cells[setup].source:
        found.append("the set-up has at most 8 lines and prints version and data")
    if text.rsplit("## Check yourself")[-1].count("<details>") < 2:
        found.append("fewer than two questions to check oneself")
    if "Previous: [" not in cells[-1].source.splitlines()[-1] or "Next: [" not in cells[-1].source.splitlines()[-1]:
        found.append("the last line has no previous and next link")
    for cell in markdown:
        for number in MEASURED.findall(KNOWN.sub("", prose(cell))):
            found.append(f"prose narrates a number: {number}")
    return found


@pytest.mark.parametrize("lesson", NUMBERED)
def test_anatomy(lesson):
    assert anatomy(read(lesson)) == []


@pytest.mark.parametrize(
    "spoil, complaint",
    [
        (lambda n: n.cells.pop(-1), "the section 'References' is missing"),
        (lambda n: n.cells[3].update(source="## One\n\n#### Three"), "headings: one title, then no level skipped"),
        (
            lambda n: n.cells[3].update(source=n.cells[3].source + "\n\nWe reach 0.917."),
            "prose narrates a number: 0.917",
        ),
        (
            lambda n: n.cells[3].update(source=n.cells[3].source + "\n\nIt gains 3.1 %."),
            "prose narrates a number: 3.1 %",
        ),
        (
            lambda n: n.cells[2].update(source="a = 1\n" * 9),
            "the set-up has at most 8 lines and prints version and data",
        ),
        (lambda n: n.cells[0].update(source="# Title"), "the first cell lacks '*Time:*'"),
    ],
)
def test_the_anatomy_test_can_fail(spoil, complaint):
    notebook = read("02_squeeze_and_excitation")
    spoil(notebook)
    assert complaint in anatomy(notebook)


def test_there_are_enough_exercises():
    counts = {lesson: len(exercises(LESSONS[lesson])) for lesson in NUMBERED}
    assert all(2 <= count <= 6 for count in counts.values())
    assert sum(counts.values()) >= 18


def test_links_to_the_glossary_lead_to_an_entry():
    headings = re.findall(r"^## (.+)$", (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings == sorted(headings, key=str.lower)
    entries = {heading.lower().replace(" ", "-") for heading in headings}
    for path in NOTEBOOKS.glob("*.ipynb"):
        links = re.findall(r"\]\(glossary\.md#([^)]+)\)", path.read_text(encoding="utf-8"))
        assert set(links) <= entries, path.name
        assert path.stem[:2] not in ("01", "02", "03", "04") or links, f"{path.name} links no term"


def test_lessons_are_chained():
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    for lesson in NUMBERED:
        at = names.index(lesson)
        last = read(lesson).cells[-1].source.splitlines()[-1]
        assert f"Previous: [{names[at - 1]}]({names[at - 1]}.ipynb)" in last
        assert f"Next: [{names[at + 1]}]({names[at + 1]}.ipynb)" in last


def definitions(lesson) -> dict:
    """Classes and functions of a solved lesson's cells; of the rest only the parameters are run."""
    namespace = {}
    for cell in solved(NOTEBOOKS / f"{lesson}.ipynb").cells:
        if "parameters" in cell.metadata.get("tags", []):
            exec(cell.source, namespace)
        elif cell.cell_type == "code":
            tree = ast.parse(cell.source)
            kept = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef))]
            exec(compile(ast.Module(kept, type_ignores=[]), lesson, "exec"), namespace)
    return namespace


def same_on_same_weights(mine, ours, x):
    mine.load_state_dict(ours.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(mine(x), ours(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "lesson, name, arguments",
    [
        ("02_squeeze_and_excitation", "SqueezeExcitation", (64,)),
        ("02_squeeze_and_excitation", "SqueezeExcitation", (64, 4)),
        ("03_cbam", "CBAM", (64,)),
    ],
)
def test_the_readers_attention_is_adnlibs(lesson, name, arguments):
    torch.manual_seed(0)
    x = torch.randn(2, 64, 9, 7)  # (B, C, H, W)
    same_on_same_weights(definitions(lesson)[name](*arguments), getattr(adnlib, name)(*arguments), x)


def test_the_readers_coupling_block_is_freias():
    block = definitions("04_normalizing_flows")["CouplingBlock"]
    flow = build_flow(10, blocks=1, hidden=8, layers=2, seed=3)
    permute, coupling = flow.module_list
    mine = block(coupling.subnet1, coupling.subnet2, clamp=3.0)
    y = torch.randn(5, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (z, log_det), (mine_z, mine_log_det) = flow(y), mine(y[:, permute.perm])
        torch.testing.assert_close(mine_z, z)
        torch.testing.assert_close(mine_log_det, log_det)
        torch.testing.assert_close(mine.inverse(z), y[:, permute.perm])


def test_the_readers_differnet_scores_as_adnlibs(tiny):
    model = adnlib.DifferNet(preset="smoke").eval()
    mine = definitions("05_differnet")["DifferNet"](
        model.features.convolve, model.flow, model.feature_mean, model.feature_std
    )
    images, views = tiny.test[:3].images(256), quarter_turns(2)
    torch.testing.assert_close(mine.score(images, views), model.anomaly_score(images, views), rtol=1e-4, atol=1e-5)


def test_the_readers_attention_in_alexnet_is_adnlibs():
    attend = definitions("06_attentdiffernet")["attend"]
    features = MultiScaleAlexNet("cbam", weights="random", seed=1)
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mine = attend(x, features.alexnet, {int(layer): module for layer, module in features.attention.items()})
        torch.testing.assert_close(mine, features.convolve(x))
