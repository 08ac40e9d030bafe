"""What a Rollout's gates would have said about the user's own past, before anything is applied."""
