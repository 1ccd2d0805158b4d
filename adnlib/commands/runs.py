"""`adn train`, `sweep`, `runs` and `compare`: what makes runs and lists them."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from adnlib.commands.output import add_command, print
from adnlib.errors import AdnError
from adnlib.experiments.config import RunConfig, add_arguments

if TYPE_CHECKING:
    from adnlib.experiments.runs import Run


def add_commands(commands) -> None:
    """Declares the commands."""
    train = add_command(
        commands,
        "train",
        _train,
        "train and evaluate a model, without a notebook; one for each category with --category all",
    )
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
        text = "replace finished runs of the same name that were trained with other images or an old preset"
        sub.add_argument("--replace", action="store_true", help=text)
    compare = add_command(commands, "compare", _compare, "compare two runs on the same test images")
    compare.add_argument("first", type=Path, metavar="RUN", help="the folder of a finished run")
    compare.add_argument("second", type=Path, metavar="RUN", help="the folder of another one")


def _train(arguments: Namespace) -> int:
    from adnlib.datasets import category_names
    from adnlib.experiments.config import from_arguments
    from adnlib.experiments.runs import comparison, train_run

    config, every = from_arguments(arguments), arguments.category == "all"
    configs = [replace(config, category=name) for name in category_names(config.dataset)] if every else [config]
    if arguments.dry_run:
        from adnlib.inspection.estimate import describe

        print("\n\n".join(map(describe, configs)))
        return 0
    if every:
        return _train_all(arguments, configs)
    run = train_run(arguments.runs, config, replace=arguments.replace)
    print(comparison([run]).to_string(index=False, float_format="%.4f"))
    print("\n".join([*_remarks(run), f"run      {run.folder}"]))
    return 0


def _train_all(arguments: Namespace, configs: list[RunConfig]) -> int:
    """Trains categories one after another, with a row of the table when each is done. A finished run is not repeated,
    an interrupted one resumes, and an error ends only the training of its category."""
    from adnlib.experiments.runs import build_model, comparison, finished_run, train_run
    from adnlib.system.device import pick_device

    width = max(len(str(config.category)) for config in configs)
    runs, failed = [], {}
    build_model(configs[0]), pick_device(configs[0].device)  # an error in the parameters ends the command here
    print(f"{configs[0].variant}, preset {configs[0].preset}, seed {configs[0].seed}\n")
    print(f"{'category':<{width}}   AUROC  95 % interval      seconds", flush=True)
    for config in configs:
        before = finished_run(arguments.runs, config)
        try:
            run = before or train_run(arguments.runs, config, replace=arguments.replace)
        except AdnError as error:
            failed[config.category] = error
            print(f"{config.category:<{width}}  failed", flush=True)
            continue
        runs.append(run)
        auroc, low, high = comparison([run]).loc[0, ["AUROC", "95 % from", "to"]]
        seconds = sum(run.facts["seconds"].values())
        row = f"{config.category:<{width}}  {auroc:.4f}  {low:.4f} to {high:.4f}  {seconds:>7.0f}"
        print(row + "  (finished before)" * bool(before), flush=True)
    if runs:
        print(f"{'mean':<{width}}  {comparison(runs)['AUROC'].mean():.4f}")
    for run in runs:
        print("\n".join(["", *_remarks(run), f"run      {run.folder}"]))
    for name, error in failed.items():
        print(f"failed   {name}: {error}", file=sys.stderr)
    return int(bool(failed))


def _remarks(run: "Run") -> list[str]:
    """What the threshold of a run promises and what is unusual in its images and scores."""
    from adnlib.inspection.remarks import image_remarks, score_remarks

    rule = run.facts["metrics"]["threshold"], run.facts["metrics"]["false_positive_rate"]
    return [*image_remarks(run.dataset()), *score_remarks(run.scores, *rule)]


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
            f"{len(changed)} finished runs are out of date; {arguments.runs / name} was trained with {change}: "
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
