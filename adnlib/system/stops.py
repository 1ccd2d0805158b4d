"""Stops: Ctrl-C and SIGTERM are deferred while a step must not be interrupted, so that its state can be saved first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class DeferredStop:
    """Records the first signal. A second one has its usual effect at once."""

    def __init__(self):
        self.signal: int | None = None
        self.handlers = {}

    def __call__(self, number: int, frame) -> None:
        self.signal = number
        self.restore()

    def install(self) -> None:
        heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        self.handlers = {number: signal.signal(number, self) for number in heeded}

    def restore(self) -> None:
        """Gives both signals their usual effect again."""
        while self.handlers:
            signal.signal(*self.handlers.popitem())

    def deliver(self) -> None:
        """Lets the recorded signal have its usual effect, such as KeyboardInterrupt."""
        self.restore()
        if self.signal is not None:
            signal.raise_signal(self.signal)


@contextmanager
def deferred_stops() -> Iterator[DeferredStop]:
    """Defers Ctrl-C and SIGTERM; the code in the block must check `signal` and call `deliver`. Main thread only."""
    stop = DeferredStop()
    if threading.current_thread() is threading.main_thread():
        stop.install()
    try:
        yield stop
    finally:
        stop.restore()


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception, so that it stops a command in the same way as Ctrl-C."""


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Raises Terminated in the block when SIGTERM arrives; only in the main thread."""

    def terminate(number: int, frame) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)
