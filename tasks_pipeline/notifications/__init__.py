"""Notifications: messages from alerts, who gets them on which channel, and their delivery from the outbox."""
