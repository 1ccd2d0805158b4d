"""`adn run`, `book` and `evidence`: what executes notebooks and writes documents."""

import html
from argparse import Namespace

from adnlib.commands.output import add_command, print


def add_commands(commands) -> None:
    """Declares the commands."""
    add_command(commands, "run", _run, "execute the main path: start, train three variants, compare")
    book = add_command(commands, "book", _book, "execute every notebook, in order, or only those that are named")
    book.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="such as 00_start_here")
    book.add_argument("--slides", action="store_true", help="write the figures as slides, runs/slides.html")
    book.add_argument("--workbook", action="store_true", help="only write the exercises to print, runs/workbook.html")
    add_command(
        commands,
        "evidence",
        _evidence,
        "print the findings of data/ledger.csv and update README.md and data/evidence.md",
    )


def _run(arguments: Namespace) -> None:
    from adnlib.book.chapters import main_path

    _execute(main_path(), "report.html")


def _book(arguments: Namespace) -> None:
    from adnlib.book.chapters import RUNS, execute_all, whole_book
    from adnlib.book.report import write_report
    from adnlib.book.slides import write_slides
    from adnlib.book.workbook import write_workbook
    from adnlib.errors import check_choice

    if arguments.workbook:
        print(f"workbook {write_workbook(RUNS / 'workbook.html')}")
        return
    chapters = whole_book()
    for name in arguments.notebooks:
        check_choice("notebook", name, dict.fromkeys(chapter.notebook for chapter in chapters))
    chapters = [c for c in chapters if not arguments.notebooks or c.notebook in arguments.notebooks]
    if not arguments.notebooks and not arguments.slides:
        _execute(chapters, "book.html")
        return
    execute_all(chapters, RUNS / "book")
    executed = [RUNS / "book" / f"{chapter.title}.ipynb" for chapter in chapters]
    if arguments.slides:
        print(f"slides   {write_slides(executed, RUNS / 'slides.html')}")
    else:
        print(f"report   {write_report(executed, '', RUNS / 'book.html')}")


def _execute(chapters: list, page: str) -> None:
    from adnlib import plots
    from adnlib.book.chapters import RUNS, execute_all
    from adnlib.book.report import figure_html, write_report
    from adnlib.evaluation import difference_in_words
    from adnlib.experiments.runs import comparison, read_runs
    from adnlib.explain.overview import overview

    seconds = execute_all(chapters, RUNS / "book")
    runs = read_runs(RUNS, dataset="elpv", category="mono", preset="fast", weights="imagenet", seed=0)
    table, plain = comparison(runs), runs[0]  # the plain DifferNet comes first
    heading = "Solar cells (elpv, mono), seed 0. Each interval is over test images."
    differences = [difference_in_words(run.variant, run.test, plain.variant, plain.test) for run in runs[1:]]
    alt = "Test images, and for each model a heat map with its score and verdict."
    caption = (
        "Normal and defective test images, evenly spaced by score, and where each model looks (Grad-CAM). Blue frame: "
        "normal, orange frame: anomalous, as labelled (first row) and as judged (other rows)."
    )
    summary = "".join(f"<p class='headline'>{html.escape(line)}</p>" for line in differences)
    summary += f"<p>{heading}</p>{plots.table(table).to_html()}{figure_html(overview(runs), alt, caption)}"
    path = write_report([RUNS / "book" / f"{chapter.title}.ipynb" for chapter in chapters], summary, RUNS / page)
    print(f"\n{heading}\n\n{table.to_string(index=False, float_format='%.3f')}\n")
    print("\n".join([*differences, ""]))
    print("seconds  " + ", ".join(f"{title} {s:.0f}" for title, s in seconds.items()))
    print(f"report   {path}")


def _evidence(arguments: Namespace) -> None:
    from adnlib.experiments.evidence import update_readme
    from adnlib.experiments.findings import committed_ledger
    from adnlib.experiments.statistics import sentences

    update_readme()
    print("\n".join(sentences(committed_ledger())))
