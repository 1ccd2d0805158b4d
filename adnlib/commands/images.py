"""`adn score`, `explain` and `export`: what judges images with a finished run."""

from argparse import Namespace
from pathlib import Path

from adnlib.commands.output import add_command, print
from adnlib.errors import AdnError


def add_commands(commands) -> None:
    """Declares the commands."""
    score = add_command(commands, "score", _score, "score image files and folders with a trained model")
    score.add_argument("paths", type=Path, nargs="+", metavar="FILE_OR_FOLDER", help="images, or folders of images")
    score.add_argument("--rate", type=float, default=0.01, help="wanted share of false alarms (default: %(default)s)")
    score.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each file")
    score.add_argument("--jsonl", type=Path, metavar="FILE", help="write a line of JSON for each file")
    score.add_argument("--report", type=Path, metavar="FILE", help="write an HTML page that opens without a server")
    score.add_argument(
        "--overlays", type=Path, metavar="FOLDER", help="write each anomalous image with its heat map to a new folder"
    )
    score.add_argument("--overwrite", action="store_true", help="replace these files if they exist")
    score.add_argument(
        "--fail-on",
        choices=("anomaly", "skipped", "either"),
        help="exit with status 1 if there is such a file (default: status 0)",
    )
    score.add_argument("--dry-run", action="store_true", help="only say what was found and how long it would take")
    explain = add_command(
        commands, "explain", _explain, "show where a trained model looks in one image, as a figure and in numbers"
    )
    explain.add_argument("image", type=Path, help="an image file")
    explain.add_argument("--mask", type=Path, help="a mask of the defect, to compare the maps with")
    explain.add_argument(
        "--out",
        type=Path,
        metavar="FILE.png",
        help="the figure (default: ./FOLDER_IMAGE_explained.png); the numbers get the extension .csv",
    )
    explain.add_argument("--overwrite", action="store_true", help="replace these two files if they exist")
    export = add_command(
        commands, "export", _export, "write a trained model as one ONNX file that gives scores and heat maps"
    )
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="the file to write")
    export.add_argument("--rate", type=float, default=0.01, help="share of false alarms (default: %(default)s)")
    export.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    for sub in (score, explain, export):
        sub.add_argument("--run", type=Path, required=True, help="the folder of a finished run")


def _score(arguments: Namespace) -> int:
    from adnlib.inspection.batch import Outputs, counts, find_files, score_files, summary
    from adnlib.inspection.scoring import Scorer

    outputs = Outputs(arguments.csv, arguments.jsonl, arguments.report, arguments.overlays)
    files = find_files(arguments.paths)
    outputs.refuse_existing(arguments.overwrite, files)
    scorer = Scorer(arguments.run, arguments.rate)
    if arguments.dry_run:
        from adnlib.inspection.estimate import describe_scoring

        print(describe_scoring(scorer, files))
        return 0
    rows = []
    for row in score_files(scorer, files, outputs.partial, progress=bool(outputs.paths)):
        rows.append(row)
        if not outputs.paths:
            print(row.line)
    outputs.write(scorer, rows)
    for path in outputs.paths:
        print(f"written    {path}")
    print("\n".join(summary(scorer, rows)))
    found = counts(rows)
    wanted = {"anomaly": ["anomalous"], "skipped": ["skipped"], "either": ["anomalous", "skipped"], None: []}
    return int(any(found[verdict] for verdict in wanted[arguments.fail_on]))


def _export(arguments: Namespace) -> None:
    from adnlib.inspection.onnx_export import export_onnx
    from adnlib.inspection.scoring import Scorer

    if arguments.onnx.exists() and not arguments.overwrite:
        raise AdnError(f"{arguments.onnx} exists: choose another name, or replace it with --overwrite.")
    path = export_onnx(Scorer(arguments.run, arguments.rate), arguments.onnx.resolve())
    print(f"written    {path} ({path.stat().st_size / 2**20:.0f} MiB)")


def _explain(arguments: Namespace) -> None:
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
