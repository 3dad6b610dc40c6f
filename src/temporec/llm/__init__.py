"""Language models around the ranking: clients, re-ranking of a shortlist, taste and reasons in words."""
