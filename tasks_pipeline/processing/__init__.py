"""From spooled envelopes to stored rows: the processors of every item type and the drain that runs them in batches."""
