"""Packages and encryptions for what leaves the house in a person's own hands."""
