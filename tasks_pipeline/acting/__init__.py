"""What people do to groups, many at once, checked, logged in their name, and undone again."""
