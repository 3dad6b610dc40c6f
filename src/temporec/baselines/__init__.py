"""Simple recommenders that every model has to beat; the same protocol as a model."""
