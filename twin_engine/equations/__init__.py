"""Published risk equations as data, and the one evaluator that runs them all."""
