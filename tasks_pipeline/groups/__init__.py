"""What a group is to people: its short id, its status and how events change it. Pure functions, no I/O."""
