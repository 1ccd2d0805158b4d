"""`adn`: the command line of the suite. Every error is one sentence on standard error with a non-zero exit status."""

import argparse
import signal
import sys

from adnlib.commands import book, data, doctor, images, lessons, runs
from adnlib.commands.output import print
from adnlib.errors import AdnError
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="adn", description="AttentDifferNet, step by step.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in (book, lessons, runs, images, data, doctor):
        module.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
