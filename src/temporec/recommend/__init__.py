"""Recommending: queries, user states, the Recommender."""
