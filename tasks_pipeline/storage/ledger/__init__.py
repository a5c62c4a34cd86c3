"""The ledger: which ranges of the spool are processed, by whom, and what waits; what makes each batch count once."""
