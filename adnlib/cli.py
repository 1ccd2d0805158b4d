"""`adn`: the suite from the command line. Every error is one sentence on standard error and a status that is not 0."""

import argparse
import ast
import inspect
import sys
from pathlib import Path

from adnlib.errors import AdnError

WORDS = {"none": None, "true": True, "false": False}  # as a grid file writes them


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 0 when it went well, 1 where a check found problems, 2 after bad input, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except AdnError as error:
        print(f"adn: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # what no module expected, such as a file that may not be read
        print(f"adn: error: {error.strerror or error} ({error.filename}): check the path and its permissions.",
              file=sys.stderr)  # fmt: skip
        return 2
    except KeyboardInterrupt:
        print("adn: stopped; nothing half-written is in place.", file=sys.stderr)
        return 130


def _fetch(options: argparse.Namespace) -> None:
    from adnlib.datasets import fetch_dataset
    from adnlib.weights import imagenet_weights

    print(f"data     {fetch_dataset('elpv')}")
    for name in ("vgg16", "efficientnet_lite0"):  # vgg16's archive brings AlexNet too
        try:
            imagenet_weights(name)
            print(f"weights  {name}, sha256 as registered")
        except AdnError as error:
            print(f"weights  without {name}, which comparisons of backbones want: {error}", file=sys.stderr)
    imagenet_weights("alexnet")
    print("weights  AlexNet's ImageNet convolutions, sha256 as registered")


def _data_list(options: argparse.Namespace) -> None:
    from adnlib.datasets import present_dataset
    from adnlib.fetch import registry

    for name, entry in registry().items():
        if "categories" in entry:
            how = "yours to bring" if "steps" in entry else "can be fetched"
            how = "licence to accept" if "accept" in entry else how
            how = "here" if present_dataset(name) else how
            print(f"{name:<20} {how:<18} {len(entry['categories']) or '?':>2} categories  {entry['title']}")
    print(f"{'folder:PATH':<20} {'':<18}                images of your own, see data/README.md")


def _data_info(options: argparse.Namespace) -> None:
    from adnlib.datasets import by_hand, dataset_entry, present_dataset

    entry = dataset_entry(options.name)
    where = present_dataset(options.name)
    fetch = by_hand(options.name) if "steps" in entry else f"not yet: adn data fetch {options.name}"
    print(f"{entry['title']}\n{entry['what']}\n")
    print(f"here       {where or fetch}")
    for key in ("page", "licence", "citation"):
        if key in entry:
            print(f"{key:<10} {entry[key]}")
    print("\ncategory                          train  test normal  anomalous   (as published)")
    for category, (train, normal, anomalous) in entry["categories"].items():
        print(f"{category:<32} {train:>6} {normal:>12} {anomalous:>10}")
    if not entry["categories"]:
        print("not known")


def _data_fetch(options: argparse.Namespace) -> None:
    from adnlib.datasets import fetch_dataset

    print(f"data     {fetch_dataset(options.name, options.source, accept_licence=options.accept_licence)}")


def _data_check(options: argparse.Namespace) -> int:
    from adnlib.data_check import check_data

    reports = check_data(options.name)
    print("\n".join(map(str, reports)))
    bad = sum(bool(report.problems) for report in reports)
    print(f"\n{len(reports)} categories, " + (f"{bad} with problems" if bad else "no problem found"))
    return int(bad > 0)


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
    from adnlib.datasets import category_names
    from adnlib.runs import comparison, train_run

    if options.dataset == "elpv" and options.category is None:
        options.category = "mono"
    arguments = {key: value for key, value in vars(options).items() if key not in ("command", "runs", "option")}
    arguments["attention"] = WORDS.get(options.attention, options.attention)
    arguments["train_attention"] = WORDS.get(options.train_attention, options.train_attention)
    for text in options.option:
        try:
            name, value = text.split("=")
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise AdnError(f"--option {text} cannot be read: write NAME=VALUE, as in --option reduction=2.") from error
        if name in inspect.signature(train_run).parameters:  # it would take the place of another switch unseen
            raise AdnError(f"--option {text} is no option of an attention: see `adn train --help`.")
        arguments[name] = value
    categories = [arguments.pop("category")]
    if categories == ["all"]:
        categories = category_names(options.dataset)
    for category in categories:
        run = train_run(options.runs, category=category, **arguments)
        print(comparison([run]).to_string(index=False, float_format="%.4f"))
        print(f"run      {run.folder}", flush=True)


def _sweep(options: argparse.Namespace) -> int:
    from adnlib.ledger import read_ledger
    from adnlib.sweeps import Dask, Processes, is_done, read_grid, sweep

    points = read_grid(options.grid)
    if options.workers < 1:
        raise AdnError(f"--workers {options.workers} is out of range: choose 1 or more.")
    if options.csv and options.csv.exists():
        _shared_ledger(options.csv)  # hours of training should not end with a file that cannot be added to
    if all(is_done(options.runs.resolve(), point) for point in points):
        if options.csv:
            _share(read_ledger(options.runs), options.csv)
        print(f"nothing to do: all {len(points)} runs are in {options.runs}; `adn runs` shows them")
        return 0
    engine = Dask(options.dask, options.workers) if options.dask else Processes(options.workers)
    failed = sweep(points, options.runs, engine)
    for name, error in failed.items():
        print(f"failed   {name}: {error}", file=sys.stderr)
    _runs(options)
    return int(bool(failed))


def _runs(options: argparse.Namespace) -> None:
    from adnlib.ledger import read_ledger

    table = read_ledger(options.runs)
    if options.csv:
        _share(table, options.csv)
    columns = ["run", "status", "seconds", "auroc", "auroc_last", "auroc_best_on_test", "error"]
    print(table[[c for c in columns if c in table]].to_string(index=False, float_format="%.3f", na_rep=""))


def _share(ledger, path: Path) -> None:
    """Adds a ledger's finished runs to the file, without paths of this machine."""
    from adnlib.evidence import PAIRED_BY, merged, without_paths
    from adnlib.files import write_whole

    finished = ledger[ledger["status"] == "done"]
    if finished.empty:
        print(f"no run is finished yet: {path} stays as it is")
        return
    earlier = _shared_ledger(path) if path.exists() else finished[:0]
    named = without_paths(finished)
    if same := list(finished["run"][named.duplicated([*PAIRED_BY, "variant"], keep=False)][:2]):
        raise AdnError(f"{same[0]} and {same[1]} would be one row of {path}, where a folder of images keeps only the "
                       "last part of its path: rename one of the two folders and train it again.")  # fmt: skip
    shared = merged(named, earlier)
    write_whole(path.resolve(), shared.to_csv(index=False, float_format="%.6g").encode())


def _shared_ledger(path: Path):
    """The table that `_share` left in a file; AdnError where something else is there."""
    import pandas as pd

    from adnlib.evidence import PAIRED_BY

    try:
        ledger = pd.read_csv(path)
    except ValueError:  # pandas' own errors, and bytes that are no text
        ledger = pd.DataFrame()
    if not {"run", "status", "variant", "auroc", *PAIRED_BY} <= set(ledger):
        raise AdnError(f"{path} is there and is no ledger of runs: give --csv the name of another file.")
    return ledger


def _evidence(options: argparse.Namespace) -> None:
    import io

    from adnlib import plots
    from adnlib.evidence import LEDGER, committed_ledger, forest_tables, in_readme, sentences
    from adnlib.files import ROOT, sha256, write_whole

    ledger = committed_ledger()
    picture = io.BytesIO()
    figure = plots.forests(forest_tables(ledger), "Does attention help? Each set, and all of them")
    figure.savefig(picture, format="png", dpi=110, metadata={"Ledger": sha256(LEDGER)})
    write_whole(ROOT / "data" / "evidence.png", picture.getvalue())
    write_whole(ROOT / "README.md", in_readme((ROOT / "README.md").read_text(encoding="utf-8"), ledger).encode())
    print("\n".join(sentences(ledger)))


def _explain(options: argparse.Namespace) -> None:
    import io

    import matplotlib.pyplot as plt

    from adnlib.files import write_whole
    from adnlib.images import ANOMALOUS, Sample
    from adnlib.localisation import explain_image
    from adnlib.runs import read_run

    out = options.out or Path(f"{options.image.stem}_explained.png")
    if out.suffix.lower() != ".png":
        raise AdnError(f"--out {out} is no picture: give it the ending .png.")
    run = read_run(options.run)
    figure, table = explain_image(run, Sample(options.image, ANOMALOUS, options.image.parent.name, options.mask))
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    plt.close(figure)
    write_whole(out.resolve(), picture.getvalue())
    write_whole(out.resolve().with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g").encode())
    print(table.to_string(index=False, float_format="%.3f"))
    print(f"overlay  {out}\nnumbers  {out.with_suffix('.csv')}")


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

    def command(name: str, function, text: str, group=commands) -> argparse.ArgumentParser:
        sub = group.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function)
        return sub

    command("fetch", _fetch, "download the default data set and the backbones' weights where they are missing")
    command("run", _run, "execute the main path: start, train three variants, compare")
    command("book", _book, "execute every notebook, in order")
    command("evidence", _evidence, "what data/ledger.csv says, and README's figure and sentences from it")
    explain = command("explain", _explain, "one image: where a trained model looks, as a picture and in numbers")
    explain.add_argument("image", type=Path, help="an image file")
    explain.add_argument("--run", type=Path, required=True, help="the folder of a finished run")
    explain.add_argument("--mask", type=Path, help="the defect's mask, for numbers against it")
    explain.add_argument("--out", type=Path, metavar="FILE.png", help="default: ./IMAGE_explained.png; numbers: .csv")
    command("stubs", _stubs, "write exercises' stubs and folded solutions into the lessons, from adnlib.checks")
    data = commands.add_parser("data", help="data sets: list, info, fetch, check", description="data sets")
    data_commands = data.add_subparsers(required=True, metavar="COMMAND")
    command("list", _data_list, "every data set that the suite knows", data_commands)
    info = command("info", _data_info, "one data set: source, licence, citation, published counts", data_commands)
    fetch = command("fetch", _data_fetch, "bring a data set here; a good copy is left alone", data_commands)
    check = command("check", _data_check, "count, read and compare all images; change nothing", data_commands)
    for sub, text in ((info, "a data set"), (fetch, "a data set"), (check, "a data set, or the path of a folder")):
        sub.add_argument("name", help=text)
    help_from = "the archive that you downloaded, or your folder of images (which stays where it is)"
    fetch.add_argument("--from", dest="source", type=Path, metavar="PATH", help=help_from)
    fetch.add_argument("--accept-licence", action="store_true", help="accept the licence that `adn data info` names")
    sweep = command("sweep", _sweep, "train every point of a grid file that is not trained yet")
    sweep.add_argument("grid", type=Path, help="a TOML file, see grids/quick.toml")
    sweep.add_argument("--workers", type=int, default=1, help="processes at a time (default: %(default)s)")
    sweep.add_argument("--dask", metavar="ADDRESS", help="tcp://HOST:PORT of a dask scheduler, or local")
    runs = command("runs", _runs, "the ledger: every run, its status, seconds and AUROC")
    for sub in (sweep, runs):
        sub.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (default: ./%(default)s)")
        sub.add_argument("--csv", type=Path, metavar="FILE", help="write the ledger there, too, or add it to the file")
    train = command("train", _train, "train and evaluate one model, without a notebook")
    train.add_argument("--dataset", default="elpv", help="a known name, or folder:PATH (default: %(default)s)")
    train.add_argument("--category", help="a category of the set, or all (default: mono for elpv)")
    train.add_argument("--attention", help="se, cbam, eca, coordinate, simam, bam, gather_excite, global_context, or "
                       "the control constant (default: none)")  # fmt: skip
    train.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                       help="of the attention: reduction=2, kernel_size=49, residual=True, value=0.25")  # fmt: skip
    train.add_argument(
        "--placement", default="figure", help="figure, before-pool or after-pool5 (default: %(default)s)"
    )
    train.add_argument("--train-attention", nargs="?", const=True, default=False, metavar="HOW",
                       help="train the attention too: by the likelihood, or guarded, cutpaste, wild_parts")  # fmt: skip
    train.add_argument("--preset", default="fast", help="paper, fast, lean, unscaled or smoke (default: %(default)s)")
    train.add_argument("--weights", default="imagenet", help="imagenet or random (default: %(default)s)")
    train.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: %(default)s)")
    train.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (default: ./%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
