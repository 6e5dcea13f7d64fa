"""The life of results after they were written."""
