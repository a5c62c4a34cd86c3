"""The nudge: asks Dagster at once for the runs that its sensors would ask for at their next tick. Only an acceleration."""
