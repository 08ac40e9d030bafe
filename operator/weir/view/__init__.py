"""What people see of a Rollout, worked out from its objects alone: a view model, and why it stands where it stands."""
