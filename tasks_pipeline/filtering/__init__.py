"""Inbound filters: what a project does not want to store, by release, environment, message, browser, address."""
