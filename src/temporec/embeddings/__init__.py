"""Embeddings: how the events of a batch become vectors (the left side of the waist)."""
