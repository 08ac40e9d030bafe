"""Checks of manifests without a cluster: schema, rules, references, feasibility.

``lint`` takes texts and gives a Report; it reads no files and knows no clock.
"""

from weir.lint.bounds import Load
from weir.lint.document import Source
from weir.lint.finding import CODES, Finding, Mark, Severity
from weir.lint.run import Options, Report, lint

__all__ = ["CODES", "Finding", "Load", "Mark", "Options", "Report", "Severity", "Source", "lint"]
