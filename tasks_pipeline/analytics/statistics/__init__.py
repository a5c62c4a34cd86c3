"""Tables of figures: a day at a time, computed from lake and state."""
