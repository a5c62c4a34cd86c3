"""Figures: tables of days computed from lake and state, data frames of them, and the way of recorded facts into the lake."""
