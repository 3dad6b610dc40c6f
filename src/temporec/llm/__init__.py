"""Language models around the core: item vectors from texts, images and sounds (the extra `llm`)."""
