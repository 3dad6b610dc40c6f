"""From scores to lists: exact and approximate top-k, filters, diversity."""
