"""Language models: as encoders of text, as the temporal encoder, and around the ranking (the extra `llm`)."""
