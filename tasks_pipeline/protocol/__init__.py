"""The wire: envelope container, DSN and auth, encodings, item types, event payloads and their normalisation. No I/O."""
