"""The spool: raw envelopes as received, on SQLite files or Postgres behind one interface."""
