"""The command `reports` and its subcommands, a file for each that is more than a few lines."""
