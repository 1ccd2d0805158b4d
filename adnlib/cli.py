"""`adn`: the suite from the command line. Every error is one sentence on standard error and a status that is not 0."""

import argparse
import ast
import sys
from pathlib import Path

from adnlib.errors import AdnError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 when it went well, 2 after bad input, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except AdnError as error:
        print(f"adn: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("adn: stopped; nothing half-written was kept.", file=sys.stderr)
        return 130
    return 0


def _fetch(options: argparse.Namespace) -> None:
    from adnlib.datasets import fetch_dataset
    from adnlib.weights import alexnet_weights

    print(f"data     {fetch_dataset('elpv')}")
    alexnet_weights()
    print("weights  AlexNet's ImageNet convolutions, sha256 as registered")


def _run(options: argparse.Namespace) -> None:
    from adnlib.book import main_path

    _execute(main_path(), "report.html")


def _book(options: argparse.Namespace) -> None:
    from adnlib.book import whole_book

    _execute(whole_book(), "book.html")


def _execute(chapters: list, page: str) -> None:
    from adnlib import plots
    from adnlib.book import RUNS, execute_all, write_report
    from adnlib.runs import comparison, read_runs

    seconds = execute_all(chapters, RUNS / "book")
    table = comparison(read_runs(RUNS, dataset="elpv", category="mono", preset="fast", weights="imagenet", seed=0))
    heading = "Solar cells (elpv, mono), seed 0; the interval is over test images."
    styled = plots.table(table)
    summary = f"<p>{heading}</p>{styled.to_html()}"
    path = write_report([RUNS / "book" / f"{chapter.title}.ipynb" for chapter in chapters], summary, RUNS / page)
    print(f"\n{heading}\n\n{table.to_string(index=False, float_format='%.3f')}\n")
    print("seconds  " + ", ".join(f"{title} {s:.0f}" for title, s in seconds.items()))
    print(f"report   {path}")


def _train(options: argparse.Namespace) -> None:
    from adnlib.runs import comparison, train_run

    if options.dataset == "elpv" and options.category is None:
        options.category = "mono"
    arguments = {key: value for key, value in vars(options).items() if key not in ("command", "runs", "option")}
    for text in options.option:
        try:
            name, value = text.split("=")
            arguments[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise AdnError(f"--option {text} cannot be read: write NAME=VALUE, as in --option reduction=2.") from error
    run = train_run(options.runs, **arguments)
    print(comparison([run]).to_string(index=False, float_format="%.4f"))
    print(f"run      {run.folder}")


def _stubs(options: argparse.Namespace) -> None:
    import nbformat

    from adnlib.book import NOTEBOOKS
    from adnlib.checks import fill_exercises, lesson_module
    from adnlib.files import write_whole

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if lesson := lesson_module(path):
            filled = fill_exercises(nbformat.read(path, as_version=4), lesson)
            write_whole(path, (nbformat.writes(filled, indent=1) + "\n").encode())
            print(f"stubs    {path.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adn", description="AttentDifferNet, step by step.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function)
        return sub

    command("fetch", _fetch, "download the default data set and AlexNet's weights where they are missing")
    command("run", _run, "execute the main path: start, train three variants, compare")
    command("book", _book, "execute every notebook, in order")
    command("stubs", _stubs, "write exercises' stubs and folded solutions into the lessons, from adnlib.checks")
    train = command("train", _train, "train and evaluate one model, without a notebook")
    train.add_argument("--dataset", default="elpv", help="a known name, or folder:PATH (default: %(default)s)")
    train.add_argument("--category", help="a folder of the set (default: mono for elpv)")
    train.add_argument("--attention", help="se, cbam, or the control constant (default: none)")
    train.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                       help="of the attention: reduction=2, kernel_size=49, residual=True, value=0.25")  # fmt: skip
    train.add_argument(
        "--placement", default="figure", help="figure, before-pool or after-pool5 (default: %(default)s)"
    )
    train.add_argument("--train-attention", action="store_true", help="train the attention too, by the likelihood")
    train.add_argument("--preset", default="fast", help="paper, fast or smoke (default: %(default)s)")
    train.add_argument("--weights", default="imagenet", help="imagenet or random (default: %(default)s)")
    train.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (default: ./%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
