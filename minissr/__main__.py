"""`python -m minissr VERB`: the umbrella over all commands."""

import sys

from minissr.cli import entry

sys.exit(entry())
