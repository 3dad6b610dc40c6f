"""Heads: how hidden states become answers (the right side of the waist)."""
