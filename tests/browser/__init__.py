"""Tests that look at pages through a browser."""
