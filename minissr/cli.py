"""What all doors share: running a command's `main` and turning errors into a sentence.

`python -m minissr.train` and `minissr train` are the same; the verbs below are the doors.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from minissr.errors import BackendUnavailable, DiskError, Interrupted, MinissrError

VERBS = {
    "train": "train a network on a data set or on synthetic faces",
    "evaluate": "measure a checkpoint on a data set",
    "inspect": "whether the stages of a checkpoint look at the face",
    "predict": "ages for pictures of faces",
    "convert": "the authors' Keras weights as a checkpoint",
    "export": "a checkpoint for other runtimes (ONNX), or as a small file",
    "prepare": "turn a folder or archive of pictures into a data set",
    "reproduce": "train and compare the networks of a study",
    "doctor": "what this machine offers: versions, processor, threads, backends",
}

USAGE = """usage: minissr VERB [OPTIONS]        (or: python -m minissr.VERB [OPTIONS])

SSR-Net from scratch: a person's age from a 64x64 face with 40,915 numbers.

{verbs}

example: minissr train --epochs 5
`minissr VERB --help` tells each verb's options."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaint is one sentence, like every other error of a door."""

    def error(self, message: str) -> NoReturn:
        raise MinissrError(f"{message}; see {self.prog} --help")


def run(main: Callable[[], int]) -> int:
    """Call a door's `main`; one sentence on standard error and its exit code if it fails."""
    try:
        code = main()
        flush()  # a reader that left is noticed here; at exit Python would complain
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        abandon_output()  # the reader (`| head`) has seen enough
        return 0
    except OSError as error:
        return report(DiskError(describe_os_error(error)))
    except (MinissrError, ValueError) as error:
        return report(error)
    except MemoryError as error:  # also CuPy's, when the GPU has no memory left
        words = f" ({error})" if str(error) else ""
        return report(BackendUnavailable(f"out of memory{words}; try half the --batch-size"))


@contextlib.contextmanager
def needing_a_reader(farewell: str) -> Iterator[None]:
    """Around work that is more than its output: unlike a listing's, its end isn't success if
    nobody reads on.

    Raises
    ------
    Interrupted
        With the farewell, if standard output was closed.
    """
    try:
        yield
        flush()
    except BrokenPipeError as error:
        abandon_output()
        raise Interrupted(farewell) from error


def flush() -> None:
    """Write what waits to be written, if there is a standard output at all (`>&-`)."""
    print(end="", flush=True)


def abandon_output() -> None:
    """Send the rest nowhere; Python would complain again while flushing it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report(error: Exception) -> int:
    """Print an error as one line on standard error and return its exit code."""
    print(f"minissr: {error}", file=sys.stderr)
    return getattr(error, "exit_code", MinissrError.exit_code)


def describe_os_error(error: OSError) -> str:
    """Say what the system refused, naming the file."""
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def entry(argv: Sequence[str] | None = None) -> int:
    """Choose the verb: the `minissr` command and `python -m minissr`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(USAGE.format(verbs="\n".join(f"  {v:<{width}}  {t}" for v, t in VERBS.items())))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from minissr import __version__

        print(f"minissr {__version__}")
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        return report(MinissrError(f"no verb {verb!r}; there are {', '.join(VERBS)}"))
    door = importlib.import_module(f"minissr.{verb}")
    return run(lambda: door.main(rest))
