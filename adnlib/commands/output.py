"""What all commands share: how they are declared and how they print."""

import builtins
from argparse import ArgumentParser
from collections.abc import Callable

from adnlib.errors import printable


def add_command(group, name: str, function: Callable, text: str) -> ArgumentParser:
    """Declares a command that calls `function` with its arguments; returns its parser."""
    parser = group.add_parser(name, help=text, description=text)
    parser.set_defaults(command=function)
    return parser


def print(text: object = "", **options) -> None:
    """Prints text with control characters escaped: names of files or categories must not act as terminal commands."""
    builtins.print(printable(str(text), keep="\n"), **options)
