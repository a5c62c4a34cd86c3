"""Trackers: the far sides. What issues and comments are, how each provider is asked, and what its answers mean. No state of ours."""
