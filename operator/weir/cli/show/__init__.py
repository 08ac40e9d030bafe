"""Views of Rollouts for a terminal: each takes what ``weir.view`` worked out and gives something that rich can print.

They need a width of 80 and no colour: colour only repeats what words say.
"""

from __future__ import annotations

from weir.cli.show.history import history
from weir.cli.show.status import status
from weir.cli.show.table import table
from weir.cli.show.why import why

__all__ = ["history", "status", "table", "why"]
