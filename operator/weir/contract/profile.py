"""Profiles: what the distributions of a table looked like, small enough to be kept in an object.

JSON, at most 100 KB: ``{"version": 1, "digest": "sha256:…", "tables": {TABLE: {"rows": N, "columns": {COLUMN:
{"nulls": N, "distinct": N, "edges": ["0.5", …], "counts": [N, …], "top": [["value", N], …], "other": N}}}}}``.
A numeric column has ``edges`` (rising, K-1 of them) and K ``counts``: below the first edge (inclusive), between, above
the last, as a Prometheus histogram with ``le`` = edge counts them. Others have ``top`` values and the count of all
``other``. Nulls are a bin of their own.
"""

from __future__ import annotations
