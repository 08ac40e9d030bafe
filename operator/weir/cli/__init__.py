"""The command line: `weir operator` runs the operator, `weir fetch` brings a model's weights into a pod."""
