"""The operator as a process against a real API server: fake pods, a fake gateway and a fake Prometheus beside it."""
