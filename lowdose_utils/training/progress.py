"""Showing how far long work has come."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm


class Progress:
    """A tqdm bar in a terminal; elsewhere (a notebook, a pipe) at most ten plain lines.

    Parameters
    ----------
    total, done : int
        Steps in all, and those made before.
    show : bool
        False: show nothing.
    """

    def __init__(self, total: int, done: int = 0, *, show: bool = True) -> None:
        self.total, self.done, self.show = total, done, show
        terminal = show and sys.stderr.isatty()
        self.bar = tqdm(total=total, initial=done, unit="step") if terminal else None

    def update(self, done: int, text: Callable[[], str]) -> None:
        """Say that `done` steps are made; `text` adds a few words and is asked only when they show."""
        before, self.done = self.done, done
        if self.bar is not None:
            if self.bar.update(done - before):
                self.bar.set_postfix_str(text())
        elif self.show and 10 * done // self.total > 10 * before // self.total:
            print(f"step {done} of {self.total}: {text()}", flush=True)

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.close()
