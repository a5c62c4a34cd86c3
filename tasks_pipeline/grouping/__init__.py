"""From a normalised event to its keys, title and culprit. Pure functions, no I/O."""
