"""The command `releases` and its subcommands."""
