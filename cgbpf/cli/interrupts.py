"""SIGINT, SIGTERM and SIGHUP: end what is done at once, or at its next step."""

from __future__ import annotations

import signal
import sys
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(KeyboardInterrupt):
    """A signal asked to end; `code` is the exit code that tells which."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.code = 128 + number


def _quiet(lost: sys.UnraisableHookArgs) -> None:
    """Says nothing of a signal that came in a destructor: `check` finds it."""
    if not issubclass(lost.exc_type, Signalled):
        sys.__unraisablehook__(lost)


class Interrupts:
    """Raises Signalled for each signal, or, once postponed, keeps the first one.

    While a recording runs and its manifest is written nothing may be torn
    apart by a signal, nor by a second one: whoever works asks `pending`.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._postponed = False
        sys.unraisablehook = _quiet
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, self._handle)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._number = self._number or number
        if not self._postponed:
            raise Signalled(number)

    def check(self) -> None:
        """Raises for a signal that came before: what it raised may have been lost
        in code that must not raise (an import, a destructor).
        """
        if self._number is not None:
            raise Signalled(self._number)

    def postpone(self) -> None:
        self._postponed = True

    def allow(self) -> None:
        self._postponed = False

    @property
    def pending(self) -> bool:
        return self._number is not None

    @property
    def code(self) -> int:
        """The exit code for the signal that came first."""
        return 128 + (self._number or signal.SIGINT)
