"""Alerts for people: one for each end of a release, and one for each wait for a person."""
