"""Every error a person can cause, with the exit code its command ends in.

A door (`python -m minissr.train` ...) turns any of these into one sentence on standard error;
a traceback is for our own mistakes only.
"""

from __future__ import annotations


class MinissrError(Exception):
    """Base of all errors that are the input's, not the program's. Exit code 2."""

    exit_code = 2


class DataError(MinissrError):
    """A data set, image or label file that can't be used. Exit code 2."""


class BackendMismatch(MinissrError):
    """Arrays of two backends met in one op. Exit code 2."""


class CheckpointError(MinissrError):
    """A checkpoint that is missing, truncated, altered or of another network. Exit code 3."""

    exit_code = 3


class DiskError(MinissrError):
    """A file could not be written or read. Exit code 3."""

    exit_code = 3


class RunInUseError(MinissrError):
    """The run directory holds another run, or another process is using it. Exit code 4."""

    exit_code = 4


class BackendUnavailable(MinissrError):
    """The chosen backend lacks its package, driver, device or compiler. Exit code 5."""

    exit_code = 5


class Interrupted(MinissrError):
    """The person stopped the run, and it was saved first. Exit code 130."""

    exit_code = 130
