"""A server for the Model Context Protocol: what an agent may see and ask for, with the agent's own credentials.

A process of its own, beside the agent; the operator never imports it. It guards nothing: the API server does.
"""
