"""The service: a recommender behind HTTP, with durable events, live user states and versions that change at no cost."""
