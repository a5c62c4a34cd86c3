"""The tests of Tasks Pipeline."""
