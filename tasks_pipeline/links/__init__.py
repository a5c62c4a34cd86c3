"""Links between groups and issues: their rows, what has to be made there, and what the two sides agree on. Asks nobody outside."""
