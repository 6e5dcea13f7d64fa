"""Watched patients: their charts are kept up to date by themselves."""
