"""Agents within bounds: pure functions that say what of their requests may happen, and what happens without them."""
