"""Pure mathematics of decisions: evidence that may be looked at after every window. No I/O, no clock, no randomness."""
