"""Integrations at work: what has to be made there is made, what changed is looked at, and how each connection is doing."""
