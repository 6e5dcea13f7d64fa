"""A clinician's review of a result: own estimate, the model's, and what became of it."""
