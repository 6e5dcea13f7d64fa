"""Twins from elsewhere: verified, kept as foreign, continued on request."""
