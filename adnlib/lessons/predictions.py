"""The reader's predictions, shown beside what was measured."""

from numbers import Real


def answer(question: str, prediction: object, right: object, source: str = "measured") -> None:
    """Prints a prediction next to the answer.

    prediction: a number or words that the reader typed in the cell before; None, ... or "" if nothing was typed.
    right: the answer, and where it comes from: `source`.
    """
    typed = prediction is not None and prediction is not ... and str(prediction).strip() != ""
    print(f"{question}: {f'you predicted {_shown(prediction)}' if typed else 'no prediction'},", end=" ")
    print(f"{source} {_shown(right)}")


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
