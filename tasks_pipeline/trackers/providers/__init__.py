"""Providers: a module for each, which holds all that is particular to it. Found by the `type` of an integration."""
