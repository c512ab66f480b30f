"""The doors' tiny trained network, here too."""

from tests.doors.conftest import call, trained

__all__ = ["call", "trained"]
