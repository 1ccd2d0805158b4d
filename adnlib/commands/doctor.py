"""`adn doctor`: what is installed, what this machine can do, and what is slow."""

from argparse import Namespace

from adnlib.commands.output import add_command, print


def add_commands(commands) -> None:
    """Declares the command."""
    add_command(commands, "doctor", _doctor, "check installation, data, weights and speed of this machine")


def _doctor(arguments: Namespace) -> int:
    from adnlib.inspection.doctor import examine

    problems = 0
    for name, text, problem in examine():
        print(f"{name:<12} {text}")
        if problem:
            problems += 1
            print(f"{'':<12} -> {problem}")
    print(f"\n{problems} problems" if problems else "\nno problems found")
    return int(problems > 0)
