"""Scrubbing: secrets and personal data are taken out of what clients send before anything of it is stored."""
