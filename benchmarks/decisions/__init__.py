"""How good the gates' decisions are: seeded simulated releases, deciders side by side, measures with intervals.

``python -m benchmarks.decisions`` writes the report (``docs/decisions.md``). A quick table of the operator's decider
alone, to choose its constants (worlds by a part of their name; ``NAME=VALUE`` sets a field of ``ours.Settings``)::

    PYTHONPATH=operator:hack:. python -m benchmarks.decisions.tune --replicates 1000 --only pods --ratios 1,1.1,2 cap=2

Numbers are computed by ``batch`` and ``batchnoise``, which do over arrays what ``weir.stats.ratio`` and
``weir.stats.noise`` do for one release; tests hold the two together.
"""
