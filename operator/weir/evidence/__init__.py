"""Evidence: where counts come from. Raw counters of pods or of a Prometheus become windows of counts for both arms.

``counters``, ``windows``, ``checkpoint`` and ``noise`` are pure; ``scrape`` and ``prometheus`` read; ``templates`` says
what a gate needs; ``feed`` and ``release`` hold what one release has seen, ``history`` what was before it;
``collector`` runs it all.
"""
