"""Sealed accounts of finished releases: recomputing what was decided."""
