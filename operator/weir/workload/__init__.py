"""What runs: a Deployment and a Service per version, their readiness, weights on disk, warm-up.

Import the modules, not this package.
"""
