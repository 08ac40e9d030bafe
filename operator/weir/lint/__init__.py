"""Checks of manifests without a cluster: schema, rules, references, feasibility."""
