"""Evidence: where counts come from. Raw counters of pods or of a Prometheus become windows of counts for both arms.

``counters`` and ``windows`` are pure; ``scrape`` and ``prometheus`` read; ``templates`` says what a gate needs;
``release`` holds what one release has seen; ``collector`` runs it all.
"""
