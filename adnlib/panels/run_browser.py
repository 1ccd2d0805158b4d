"""Run browser: the filtered ledger, and the facts, learning curve and notebook of one run."""

import html
import re
from functools import lru_cache
from pathlib import Path

import ipywidgets
import pandas as pd
from matplotlib.figure import Figure

from adnlib.errors import AdnError
from adnlib.experiments.ledger import read_ledger
from adnlib.experiments.runs import read_run
from adnlib.panels.panel import Panel, row
from adnlib.panels.pictures import WIDTH, sentence, sheet
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR

ANY = "all"
SORTS = {"AUROC, best first": ("auroc", False), "name": ("run", True), "seconds, longest first": ("seconds", False)}


def filtered(ledger: pd.DataFrame, words: str, status: str, sort: str) -> pd.DataFrame:
    """The rows of the ledger with a status (or ANY) that match all `words`. A word matches if it is one of the parts of
    the run's name between hyphens, or if it occurs anywhere in the run's variant or category."""
    keep = pd.Series(True, ledger.index)
    about = ledger.reindex(columns=["variant", "category"]).fillna("").agg(" ".join, axis=1).str.lower()
    for word in words.lower().split():
        parts = ledger["run"].str.lower().str.split("-").map(lambda parts, word=word: word in parts)
        keep &= parts | about.str.contains(word, regex=False)
    if status != ANY:
        keep &= ledger["status"] == status
    column, ascending = SORTS[sort]
    rows = ledger[keep]
    return rows.sort_values(column, ascending=ascending, kind="stable") if column in rows else rows


def curve_picture(root: str, run: str) -> Figure:
    """The learning curve of a finished run, and its AUROC on the test set, which was used for no decision."""
    folder = Path(root) / run
    if not run:
        return sentence("No run matches these words and this status.")
    if not (folder / "parameters.json").exists():
        return sentence(f"{run} is not finished and has no learning curve yet.")
    return _curve(folder, (folder / "parameters.json").stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _curve(folder: Path, written: int) -> Figure:
    try:
        loaded = read_run(folder)
        history, chosen = loaded.history, loaded.facts["chosen_epoch"]
    except AdnError as error:
        return sentence(str(error))
    tested = history["test_auroc"].notna().any() if "test_auroc" in history else False
    figure = sheet(
        WIDTH,
        3.4 if tested else 2.2,
        (0.65, 0.45 + 1.2 * tested, WIDTH - 0.8, 1.4),
        *([(0.65, 0.45, WIDTH - 0.8, 0.85)] if tested else []),
    )
    axis = figure.axes[0]
    axis.plot(history["epoch"], history["train_nll"], "--", color=ANOMALOUS_COLOUR, label="training (mean)")
    axis.plot(history["epoch"], history["validation_nll"], color=NORMAL_COLOUR, label="validation (median)")
    epoch = history[history["epoch"] == chosen]
    axis.plot(epoch["epoch"], epoch["validation_nll"], "o", color=NORMAL_COLOUR, label=f"selected: epoch {chosen}")
    low = min(history["train_nll"].min(), history["validation_nll"].min())
    axis.set_ylim(low - 0.2, low + 4)  # the first epochs are far off the scale
    axis.set_ylabel("NLL (nats / dim.)")
    axis.set_title(f"{loaded.variant}, seed {loaded.parameters['seed']}", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    if tested:
        rows = history.dropna(subset="test_auroc")
        figure.axes[1].plot(rows["epoch"], rows["test_auroc"], ".-", color="grey")
        figure.axes[1].set(ylabel="test AUROC", xlim=axis.get_xlim())
    figure.axes[-1].set_xlabel("epoch")
    return figure


def table(ledger: pd.DataFrame, run: str, words: str, status: str, sort: str) -> str:
    """The facts of the selected run and the first rows of the filtered ledger, as HTML."""
    matches = filtered(ledger, words, status, sort)
    columns = [c for c in ("run", "variant", "status", "auroc", "auroc_low", "auroc_high", "seconds") if c in matches]
    rows = matches[columns].head(12).to_html(index=False, float_format="%.3f", na_rep="", border=0)
    rows = re.sub(r"<td>(damaged|failed)</td>", r'<td class="adn-bad">\1</td>', rows)
    chosen = ledger[ledger["run"] == run]
    facts = ""
    if len(chosen):
        one = chosen.iloc[0].dropna().drop("run")
        facts = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in one.items())
    return f"<p><b>{html.escape(run)}</b>: {html.escape(facts)}</p><p>{len(matches)} of {len(ledger)} runs:</p>{rows}"


def notebook_of(folder: Path) -> Path | None:
    """The executed notebook that made a run: a sweep's is in the run's folder, that of `make run` beside the runs."""
    import nbformat  # slow to import, and rarely needed

    if (folder / "notebook.ipynb").exists():
        return folder / "notebook.ipynb"
    for path in sorted((folder.parent / "book").glob("07_train*.ipynb")):
        outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
        if any(folder.name in output.get("text", "").split() for output in outputs):  # it prints the runs it has saved
            return path
    return None


def notebook_page(folder: Path) -> str:
    """The notebook of a run as HTML in a sandboxed frame, where nothing is executed."""
    if not (path := notebook_of(folder)):
        return "<p>This run has no notebook: it was trained by a command, or in a notebook that was not saved.</p>"
    return _page(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _page(path: Path, written: int) -> str:
    from adnlib.book.report import POLICY, notebook_html  # slow to import, and rarely needed

    _, body = notebook_html(path)
    page = f"{POLICY}<style>body {{ font: 14px sans-serif; background: white }} img {{ max-width: 100% }}</style>{body}"
    style = "width: min(100%, 60rem); height: 32rem; border: 1px solid #8888; background: white"
    return f'<iframe sandbox title="notebook of the run" srcdoc="{html.escape(page)}" style="{style}"></iframe>'


class RunBrowser(Panel):
    """The ledger of a folder of runs, with filters by words and status, a sort order and a selected run."""

    def __init__(self, root: Path | str):
        self.root, self.ledger = Path(root), read_ledger(root)
        if self.ledger.empty:
            raise AdnError(
                f"There is no run in {root} yet: train some with `make run` or notebooks/07_train, then execute "
                "this cell again."
            )
        self.page = ipywidgets.HTML()
        statuses = [ANY, *sorted(self.ledger["status"].unique())]
        tip = "Parts of the name, variant or category, for example: se seed0"
        super().__init__(
            self.draw_curve,
            words=self.draw_table,
            filter=ipywidgets.Text(description="filter (words)", tooltip=tip, continuous_update=True),
            status=ipywidgets.Dropdown(options=statuses, description="status"),
            sort=ipywidgets.Dropdown(options=list(SORTS), description="order"),
            run=ipywidgets.Select(options=[""], rows=8, description="run", layout={"width": "36rem"}),
            notebook=ipywidgets.Checkbox(False, description="show its notebook", indent=False),
            tries={
                "the highest AUROC": lambda: self.first_by("AUROC, best first"),
                "the longest training": lambda: self.first_by("seconds, longest first"),
            },
        )

    def rows(self):
        c = self.controls
        above = row(c["filter"], c["status"], c["sort"], kind="controls")
        below = row(c["run"], c["notebook"], kind="controls")
        return [above, below, self.tries, self.message, row(*self.images, self.text), self.page]

    def first_by(self, sort: str) -> None:
        """Selects the first finished run of an order."""
        c = self.controls
        c["filter"].value, c["sort"].value = "", sort
        c["status"].value = "done" if "done" in c["status"].options else ANY
        c["run"].value = c["run"].options[0]

    def follow(self, name):
        c = self.controls
        if name in (None, "filter", "status", "sort"):
            matches = filtered(self.ledger, c["filter"].value, c["status"].value, c["sort"].value)
            current = c["run"].value
            c["run"].options = list(matches["run"]) or [""]
            c["run"].value = current if current in c["run"].options else c["run"].options[0]
        shown = c["notebook"].value and c["run"].value
        self.page.value = notebook_page(self.root / c["run"].value) if shown else ""

    def draw_curve(self, run: str) -> Figure:
        return curve_picture(str(self.root), run)

    def draw_table(self, run: str, filter: str, status: str, sort: str) -> str:
        return table(self.ledger, run, filter, status, sort)
