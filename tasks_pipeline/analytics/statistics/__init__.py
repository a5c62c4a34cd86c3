"""Tables of figures: a row per UTC day and key, computed a day at a time from lake and state, replaced as a whole.

A module for each group of tables says how its figures are made; `compute.py` puts them in their place, `days.py` knows which
days are due. What is told of them (reports, frames, pictures) does not belong here.
"""
