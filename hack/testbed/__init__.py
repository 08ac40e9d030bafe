"""What the demo, the end-to-end tests and the benchmarks share: a cluster with Weir on it, and a model under traffic."""
