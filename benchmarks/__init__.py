"""Benchmarks: what the whole service does with real events, beside the floor of the same work in the same run."""
