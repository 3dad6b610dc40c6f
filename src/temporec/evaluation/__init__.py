"""Honest comparison: protocols, intervals, segments, leak canary, report."""
