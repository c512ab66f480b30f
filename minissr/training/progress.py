"""What a person sees while a network trains: one bar over the whole run.

It counts images, so that the rate is in images/s and the time left is that of the run.
"""

from __future__ import annotations

import sys
from typing import Any


class Bar:
    """A progress bar on standard error, a context manager.

    Parameters
    ----------
    total, done : int
        Images of the whole run, and those already seen when it is resumed.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        from tqdm import tqdm

        # A file or a pipe keeps every update as a line: there, one in ten seconds is plenty.
        terminal = sys.stderr.isatty()
        self._bar: Any = tqdm(
            total=total,
            initial=done,
            unit=" images",
            dynamic_ncols=terminal,
            mininterval=0.3 if terminal else 10.0,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "[{elapsed}<{remaining}, {rate_fmt}{postfix}]",
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, images: int, epoch: str, mae: float) -> None:
        """Another step is done; `mae` is that of the epoch so far, in years."""
        self._bar.set_description(epoch, refresh=False)
        self._bar.set_postfix_str(f"MAE {mae:.2f}", refresh=False)
        self._bar.update(images)

    def say(self, line: str) -> None:
        """Print a line to standard output without tearing the bar."""
        self._bar.write(line, file=sys.stdout)
        sys.stdout.flush()
