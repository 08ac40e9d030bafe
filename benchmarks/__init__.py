"""What the operator costs and how fast it reacts, measured on a real API server with fake pods."""
