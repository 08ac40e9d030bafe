"""The runtime of the controller shell: API client, watches, work queue, leadership, events, telemetry, health.

Nothing here knows a kind of Weir beyond its name and path; deciding lives elsewhere.
Import the modules, not this package.
"""
