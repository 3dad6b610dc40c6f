"""Temporal encoders: how a sequence of event vectors becomes a state. They know no task."""
