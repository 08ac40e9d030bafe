"""What runs as a Kubernetes Job, in a pod of its own, away from the operator."""
