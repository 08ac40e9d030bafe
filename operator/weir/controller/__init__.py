"""The controller shell: watches, work queue, observation, actions, leadership, telemetry."""
