"""Commands about what is recorded and counted."""
