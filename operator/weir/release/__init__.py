"""The pure core: what a release does next, as a function of status, observation and time. No I/O, no clock."""
