"""SMART Health Links: made, opened, revoked."""
