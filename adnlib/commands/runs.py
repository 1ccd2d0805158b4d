"""`adn train`, `sweep`, `runs` and `compare`: what makes runs and lists them."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from adnlib.commands.output import add_command, print
from adnlib.errors import AdnError
from adnlib.experiments.config import add_arguments


def add_commands(commands) -> None:
    """Declares the commands."""
    train = add_command(commands, "train", _train, "train and evaluate one model, without a notebook")
    add_arguments(train)
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="only say which images would be used for what, and how much time and memory it would take",
    )
    sweep = add_command(commands, "sweep", _sweep, "train all unfinished runs of a grid file")
    sweep.add_argument("grid", type=Path, help="a TOML file, see grids/quick.toml")
    sweep.add_argument("--workers", type=int, default=1, help="number of parallel processes (default: %(default)s)")
    sweep.add_argument("--dask", metavar="ADDRESS", help="address of a Dask scheduler, tcp://HOST:PORT, or local")
    runs = add_command(commands, "runs", _runs, "show the ledger: every run with status, seconds and AUROC")
    for sub in (train, sweep, runs):
        sub.add_argument("--runs", type=Path, default=Path("runs"), help="the folder of runs (default: ./%(default)s)")
    for sub in (sweep, runs):
        sub.add_argument(
            "--csv", type=Path, metavar="FILE", help="also write the ledger to this file, or add it to an existing one"
        )
    for sub in (train, sweep):
        text = "replace finished runs of the same name that were trained on other images"
        sub.add_argument("--replace", action="store_true", help=text)
    compare = add_command(commands, "compare", _compare, "compare two runs on the same test images")
    compare.add_argument("first", type=Path, metavar="RUN", help="the folder of a finished run")
    compare.add_argument("second", type=Path, metavar="RUN", help="the folder of another one")


def _train(arguments: Namespace) -> None:
    from adnlib.datasets import category_names
    from adnlib.experiments.config import from_arguments
    from adnlib.experiments.runs import comparison, train_run
    from adnlib.inspection.remarks import image_remarks, score_remarks

    config = from_arguments(arguments)
    if arguments.dry_run:
        from adnlib.inspection.estimate import describe

        print(describe(config))
        return
    for category in category_names(config.dataset) if config.category == "all" else [config.category]:
        run = train_run(arguments.runs, replace(config, category=category), replace=arguments.replace)
        print(comparison([run]).to_string(index=False, float_format="%.4f"))
        rule = run.facts["metrics"]["threshold"], run.facts["metrics"]["false_positive_rate"]
        print("\n".join([*image_remarks(run.dataset()), *score_remarks(run.scores, *rule)]))
        print(f"run      {run.folder}", flush=True)


def _sweep(arguments: Namespace) -> int:
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


def _runs(arguments: Namespace) -> None:
    from adnlib.experiments.ledger import read_ledger, share

    table = read_ledger(arguments.runs)
    if arguments.csv:
        share(table, arguments.csv)
    columns = ["run", "status", "seconds", "auroc", "auroc_last", "auroc_best_on_test", "error"]
    print(table[[c for c in columns if c in table]].to_string(index=False, float_format="%.3f", na_rep=""))


def _compare(arguments: Namespace) -> None:
    from adnlib.evaluation import difference_in_words
    from adnlib.experiments.runs import comparison, read_run

    first, second = read_run(arguments.first), read_run(arguments.second)
    for run in (first, second):
        if run.test.empty:
            raise AdnError(f"{run.folder} has no test images: runs are compared on the same test images.")
    words = difference_in_words(first.variant, first.test, second.variant, second.test)
    print(comparison([first, second]).to_string(index=False, float_format="%.4f"))
    print(f"\n{words}\n")
    both = first.test[["image", "defect"]].assign(
        **{
            name: run.test["score"].rank(pct=True).round(2).to_numpy()
            for name, run in (("first", first), ("second", second))
        }
    )
    gap = (both["first"] - both["second"]).abs()
    print("The images on whose rank (share of test images with a lower or the same score) they disagree most:\n")
    print(both.assign(gap=gap).nlargest(8, "gap").to_string(index=False))
