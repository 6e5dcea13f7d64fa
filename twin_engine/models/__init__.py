"""Targeted models: the contract, the registry, and the way from a state to an assessment."""
