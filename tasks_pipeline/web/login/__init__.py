"""Logging in: the door before the pages, and the pages of logins, invitations and accounts."""
