"""A real Kubernetes cluster for development: kind where Docker runs, else one node embedded in a Linux namespace."""
