"""The demo: a good model released and a bad one put back, under live traffic, on a real cluster."""
