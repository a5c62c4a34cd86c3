"""Alert rules: when something that happened is worth telling, and to whom. How it is told is `notifications`."""
