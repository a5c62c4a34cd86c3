"""Erasure: rows that are deleted on purpose go from every store, physically, and each step may be the last of a process.

What goes is decided elsewhere (`privacy/`: what is a person's); what goes because it is old is in `retention/`.
"""
