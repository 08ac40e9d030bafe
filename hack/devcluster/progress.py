"""Progress lines that read well on a terminal and in a CI log."""

import sys
import time
from collections.abc import Callable


class Progress:
    """Prints one plain line a step to stderr, with the seconds since the start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, quiet: bool = False) -> None:
        self._clock = clock
        self._start = clock()
        self._quiet = quiet

    @property
    def elapsed(self) -> float:
        """Seconds since this object was made."""
        return self._clock() - self._start

    def step(self, text: str) -> None:
        """Say what is being done, or has been done, now."""
        if not self._quiet:
            print(f"[{self.elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)
