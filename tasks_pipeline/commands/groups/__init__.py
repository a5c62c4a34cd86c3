"""The command `groups` and its subcommands."""
