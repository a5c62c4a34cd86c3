"""Backups: everything of an installation as it was at a moment, in a folder or in object storage, and back. See docs/backup.md."""
