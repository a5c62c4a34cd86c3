"""Sensors: what starts runs, and what watches them."""
