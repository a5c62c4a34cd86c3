"""Monitors of other people's jobs (cron) and addresses (uptime): what was expected, what came, and incidents."""
