"""Renderings of a report: as text, mail, page and pictures. What it says is decided elsewhere; nothing here asks a store."""
