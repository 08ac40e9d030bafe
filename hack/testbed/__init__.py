"""What demo, end-to-end tests and benchmarks share: a cluster with Weir on it, and a model under traffic."""
