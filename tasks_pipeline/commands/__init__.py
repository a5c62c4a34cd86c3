"""The commands of `tasks-pipeline`, one module per area. They read, call the domain and print; they decide nothing."""
