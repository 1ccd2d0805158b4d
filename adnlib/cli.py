"""`adn`: the command line of the suite. Every error is one sentence on standard error with a non-zero exit status."""

import argparse
import builtins
import html
import signal
import sys
from dataclasses import replace
from pathlib import Path

from adnlib.errors import AdnError, printable
from adnlib.experiments.config import add_arguments
from adnlib.system.stops import Terminated, stopped_by_sigterm


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Returns 0 for success, 1 for problems found or runs failed, 2 for bad input, 130 for
    Ctrl-C, 143 for SIGTERM."""
    options = _parser().parse_args(arguments)
    try:
        with stopped_by_sigterm():
            return options.command(options) or 0
    except AdnError as error:
        print(f"adn: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # not handled by any module, such as a file without read permission
        print(
            f"adn: error: {error.strerror or error} ({error.filename}): check the path and its permissions.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as stop:
        print("adn: stopped; no file is left half-written.", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)


def print(text: object, **options) -> None:
    """Prints text with control characters escaped: names of files or categories must not act as terminal commands."""
    builtins.print(printable(str(text), keep="\n"), **options)


def _fetch(arguments: argparse.Namespace) -> None:
    from adnlib.imagesets.sources import fetch_dataset
    from adnlib.models.weights import imagenet_weights

    print(f"data     {fetch_dataset('elpv')}")
    for name in ("vgg16", "efficientnet_lite0"):  # vgg16's archive also contains AlexNet
        try:
            imagenet_weights(name)
            print(f"weights  {name}, sha256 verified")
        except AdnError as error:
            print(f"weights  without {name}, which is only needed to compare backbones: {error}", file=sys.stderr)
    imagenet_weights("alexnet")
    print("weights  AlexNet's ImageNet convolutions, sha256 verified")


def _data_list(arguments: argparse.Namespace) -> None:
    from adnlib.imagesets.registry import registry
    from adnlib.imagesets.sources import present_dataset

    for name, entry in registry().items():
        if "categories" in entry:
            how = "fetch by hand" if "steps" in entry else "not fetched yet"
            how = "licence to accept" if "accept" in entry else how
            how = "installed" if present_dataset(name) else how
            print(f"{name:<20} {how:<18} {len(entry['categories']) or '?':>2} categories  {entry['title']}")
    print(f"{'folder:PATH':<20} {'':<18}                your own images, see data/README.md")


def _data_info(arguments: argparse.Namespace) -> None:
    from adnlib.imagesets.sources import by_hand, dataset_entry, present_dataset

    entry = dataset_entry(arguments.name)
    where = present_dataset(arguments.name)
    fetch = by_hand(arguments.name) if "steps" in entry else f"not fetched yet: adn data fetch {arguments.name}"
    print(f"{entry['title']}\n{entry['what']}\n")
    print(f"folder     {where or fetch}")
    for key in ("page", "licence", "citation"):
        if key in entry:
            print(f"{key:<10} {entry[key]}")
    print("\ncategory                          train  test normal  anomalous   (as published)")
    for category, (train, normal, anomalous) in entry["categories"].items():
        print(f"{category:<32} {train:>6} {normal:>12} {anomalous:>10}")
    if not entry["categories"]:
        print("unknown")


def _data_fetch(arguments: argparse.Namespace) -> None:
    from adnlib.imagesets.sources import fetch_dataset

    print(f"data     {fetch_dataset(arguments.name, arguments.source, accept_licence=arguments.accept_licence)}")


def _data_check(arguments: argparse.Namespace) -> int:
    from adnlib.inspection.data_check import check_data

    reports = check_data(arguments.name, listing=arguments.list)
    print("\n".join(map(str, reports)))
    bad = sum(bool(report.problems) for report in reports)
    print(f"\n{len(reports)} categories, " + (f"{bad} with problems" if bad else "no problems found"))
    return int(bad > 0)


def _run(arguments: argparse.Namespace) -> None:
    from adnlib.book.chapters import main_path

    _execute(main_path(), "report.html")


def _book(arguments: argparse.Namespace) -> None:
    from adnlib.book.chapters import whole_book

    _execute(whole_book(), "book.html")


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
    summary = f"<p>{heading}</p>{figure_html(overview(runs), alt, caption)}"
    summary += "".join(f"<p>{html.escape(line)}</p>" for line in differences) + plots.table(table).to_html()
    path = write_report([RUNS / "book" / f"{chapter.title}.ipynb" for chapter in chapters], summary, RUNS / page)
    print(f"\n{heading}\n\n{table.to_string(index=False, float_format='%.3f')}\n")
    print("\n".join([*differences, ""]))
    print("seconds  " + ", ".join(f"{title} {s:.0f}" for title, s in seconds.items()))
    print(f"report   {path}")


def _train(arguments: argparse.Namespace) -> None:
    from adnlib.datasets import category_names
    from adnlib.experiments.config import from_arguments
    from adnlib.experiments.runs import comparison, train_run
    from adnlib.inspection.remarks import image_remarks, score_remarks

    config = from_arguments(arguments)
    for category in category_names(config.dataset) if config.category == "all" else [config.category]:
        run = train_run(arguments.runs, replace(config, category=category), replace=arguments.replace)
        print(comparison([run]).to_string(index=False, float_format="%.4f"))
        rule = run.facts["metrics"]["threshold"], run.facts["metrics"]["false_positive_rate"]
        print("\n".join([*image_remarks(run.dataset()), *score_remarks(run.scores, *rule)]))
        print(f"run      {run.folder}", flush=True)


def _sweep(arguments: argparse.Namespace) -> int:
    from adnlib.experiments.grid import read_grid
    from adnlib.experiments.ledger import read_ledger, read_shared, share
    from adnlib.experiments.sweeps import Dask, Processes, changed_runs, is_done, sweep

    configs = read_grid(arguments.grid)
    if arguments.workers < 1:
        raise AdnError(f"--workers {arguments.workers} is out of range: choose 1 or more.")
    if arguments.csv and arguments.csv.exists():
        read_shared(arguments.csv)  # fail now rather than after hours of training
    changed = changed_runs(configs, arguments.runs)
    if changed and not arguments.replace:
        name, change = next(iter(changed.items()))
        raise AdnError(
            f"{len(changed)} finished runs were trained on other images, first {arguments.runs / name} ({change}): "
            "choose another --runs folder, or replace these runs with --replace."
        )
    if not changed and all(is_done(arguments.runs.resolve(), config) for config in configs):
        if arguments.csv:
            share(read_ledger(arguments.runs), arguments.csv)
        print(f"nothing to do: all {len(configs)} runs are in {arguments.runs}; `adn runs` lists them")
        return 0
    engine = Dask(arguments.dask, arguments.workers) if arguments.dask else Processes(arguments.workers)
    failed = sweep(configs, arguments.runs, engine, replace=set(changed))
    for name, error in failed.items():
        print(f"failed   {name}: {error}", file=sys.stderr)
    _runs(arguments)
    return int(bool(failed))


def _runs(arguments: argparse.Namespace) -> None:
    from adnlib.experiments.ledger import read_ledger, share

    table = read_ledger(arguments.runs)
    if arguments.csv:
        share(table, arguments.csv)
    columns = ["run", "status", "seconds", "auroc", "auroc_last", "auroc_best_on_test", "error"]
    print(table[[c for c in columns if c in table]].to_string(index=False, float_format="%.3f", na_rep=""))


def _evidence(arguments: argparse.Namespace) -> None:
    from adnlib.experiments.findings import committed_ledger, update_readme
    from adnlib.experiments.statistics import sentences

    update_readme()
    print("\n".join(sentences(committed_ledger())))


def _explain(arguments: argparse.Namespace) -> None:
    import io

    import matplotlib.pyplot as plt

    from adnlib.experiments.runs import read_run
    from adnlib.explain.image import explain_image
    from adnlib.imagesets.reading import ANOMALOUS, Sample
    from adnlib.system.files import write_whole

    folder = arguments.image.resolve().parent.name  # images of two folders often have the same name
    out = arguments.out or Path(f"{folder}_{arguments.image.stem}_explained.png")
    if out.suffix.lower() != ".png":
        raise AdnError(f"--out {out} is not an image: use the extension .png.")
    for path in (out, out.with_suffix(".csv")):
        if path.exists() and (not arguments.overwrite or path.samefile(arguments.image)):
            raise AdnError(f"{path} exists: choose another file with --out, or replace it with --overwrite.")
    run = read_run(arguments.run)
    figure, table = explain_image(run, Sample(arguments.image, ANOMALOUS, arguments.image.parent.name, arguments.mask))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    plt.close(figure)
    write_whole(out.resolve(), buffer.getvalue())
    write_whole(out.resolve().with_suffix(".csv"), table.to_csv(index=False, float_format="%.6g").encode())
    print(table.to_string(index=False, float_format="%.3f"))
    print(f"overlay  {out}\nnumbers  {out.with_suffix('.csv')}")


def _stubs(arguments: argparse.Namespace) -> None:
    import nbformat

    from adnlib.book.chapters import NOTEBOOKS
    from adnlib.experiments.config import notebook_parameters
    from adnlib.lessons.exercise import fill_exercises, lesson_module
    from adnlib.system.files import write_whole

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if path.stem == "07_train":
            [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
            cell.source = notebook_parameters()
        elif lesson := lesson_module(path):
            fill_exercises(notebook, lesson)
        else:
            continue
        write_whole(path, (nbformat.writes(notebook, indent=1) + "\n").encode())
        print(f"stubs    {path.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adn", description="AttentDifferNet, step by step.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function, text: str, group=commands) -> argparse.ArgumentParser:
        sub = group.add_parser(name, help=text, description=text)
        sub.set_defaults(command=function)
        return sub

    command("fetch", _fetch, "download the default data set and the backbones' weights if they are missing")
    command("run", _run, "execute the main path: start, train three variants, compare")
    command("book", _book, "execute every notebook, in order")
    command("evidence", _evidence, "print the findings of data/ledger.csv and update README.md and data/evidence.md")
    explain = command("explain", _explain, "show where a trained model looks in one image, as a figure and in numbers")
    explain.add_argument("image", type=Path, help="an image file")
    explain.add_argument("--run", type=Path, required=True, help="the folder of a finished run")
    explain.add_argument("--mask", type=Path, help="a mask of the defect, to compare the maps with")
    explain.add_argument(
        "--out",
        type=Path,
        metavar="FILE.png",
        help="the figure (default: ./FOLDER_IMAGE_explained.png); the numbers get the extension .csv",
    )
    explain.add_argument("--overwrite", action="store_true", help="replace these two files if they exist")
    command("stubs", _stubs, "copy the exercises and 07_train's parameters from adnlib into the notebooks")
    data = commands.add_parser(
        "data", help="data sets: list, info, fetch, check", description="list, describe, fetch or check data sets"
    )
    data_commands = data.add_subparsers(required=True, metavar="COMMAND")
    command("list", _data_list, "list every data set that the suite knows", data_commands)
    info = command("info", _data_info, "show one data set: source, licence, citation, published counts", data_commands)
    fetch = command("fetch", _data_fetch, "fetch a data set, unless a complete copy exists", data_commands)
    check = command("check", _data_check, "count, read and compare all images, without changing them", data_commands)
    for sub, text in (
        (info, "name of a data set"),
        (fetch, "name of a data set"),
        (check, "name of a data set or path of a folder; in the project, a path starts from its top folder"),
    ):
        sub.add_argument("name", help=text)
    check.add_argument(
        "--list", type=Path, metavar="FILE", help="write every bad or repeated file to FILE, with the reason"
    )
    help_from = "the archive that you downloaded, or your folder of images (which stays where it is)"
    fetch.add_argument("--from", dest="source", type=Path, metavar="PATH", help=help_from)
    fetch.add_argument("--accept-licence", action="store_true", help="accept the licence that `adn data info` shows")
    sweep = command("sweep", _sweep, "train all unfinished runs of a grid file")
    sweep.add_argument("grid", type=Path, help="a TOML file, see grids/quick.toml")
    sweep.add_argument("--workers", type=int, default=1, help="number of parallel processes (default: %(default)s)")
    sweep.add_argument("--dask", metavar="ADDRESS", help="address of a Dask scheduler, tcp://HOST:PORT, or local")
    runs = command("runs", _runs, "show the ledger: every run with status, seconds and AUROC")
    for sub in (sweep, runs):
        sub.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (default: ./%(default)s)")
        sub.add_argument(
            "--csv", type=Path, metavar="FILE", help="also write the ledger to this file, or add it to an existing one"
        )
    train = command("train", _train, "train and evaluate one model, without a notebook")
    add_arguments(train)
    for sub in (sweep, train):
        text = "replace finished runs of the same name that were trained on other images"
        sub.add_argument("--replace", action="store_true", help=text)
    train.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (default: ./%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
