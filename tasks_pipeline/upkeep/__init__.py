"""The store looks after itself: files and databases are kept small and sound, caches bounded, and what uses the disk is known."""
