"""Privacy: a person's data found in every store, exported, and deleted (`erasure/`), with a certificate that does not say whose it was."""
