"""A digits classifier to roll out: training, model server, load generator and artifact store in one image."""
