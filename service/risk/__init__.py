"""Risk of the held twins, measured."""
