"""Losses: each is one file, states what it needs, and never looks inside the model."""
