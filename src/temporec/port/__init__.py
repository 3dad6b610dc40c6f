"""Weights of Temporec's models in the layouts of other libraries."""
