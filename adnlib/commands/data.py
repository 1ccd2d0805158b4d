"""`adn fetch` and `adn data`: data sets and weights."""

import sys
from argparse import Namespace
from pathlib import Path

from adnlib.commands.output import add_command, print
from adnlib.errors import AdnError


def add_commands(commands) -> None:
    """Declares the commands."""
    add_command(
        commands, "fetch", _fetch, "download the default data set and the backbones' weights if they are missing"
    )
    data = commands.add_parser(
        "data", help="data sets: list, info, fetch, check", description="list, describe, fetch or check data sets"
    )
    group = data.add_subparsers(required=True, metavar="COMMAND")
    add_command(group, "list", _list, "list every data set that the suite knows")
    info = add_command(group, "info", _info, "show one data set: source, licence, citation, published counts")
    fetch = add_command(group, "fetch", _fetch_one, "fetch a data set, unless a complete copy exists")
    check = add_command(group, "check", _check, "count, read and compare all images, without changing them")
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


def _fetch(arguments: Namespace) -> None:
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


def _list(arguments: Namespace) -> None:
    from adnlib.imagesets.registry import registry
    from adnlib.imagesets.sources import present_dataset

    for name, entry in registry().items():
        if "categories" in entry:
            how = "fetch by hand" if "steps" in entry else "not fetched yet"
            how = "licence to accept" if "accept" in entry else how
            how = "installed" if present_dataset(name) else how
            print(f"{name:<20} {how:<18} {len(entry['categories']) or '?':>2} categories  {entry['title']}")
    print(f"{'folder:PATH':<20} {'':<18}                your own images, see data/README.md")


def _info(arguments: Namespace) -> None:
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


def _fetch_one(arguments: Namespace) -> None:
    from adnlib.imagesets.sources import fetch_dataset

    print(f"data     {fetch_dataset(arguments.name, arguments.source, accept_licence=arguments.accept_licence)}")


def _check(arguments: Namespace) -> int:
    from adnlib.inspection.data_check import check_data

    reports = check_data(arguments.name, listing=arguments.list)
    print("\n".join(map(str, reports)))
    bad = sum(bool(report.problems) for report in reports)
    print(f"\n{len(reports)} categories, " + (f"{bad} with problems" if bad else "no problems found"))
    return int(bad > 0)
