"""Language models: item vectors from texts, images and sounds; the temporal encoder; words around the ranking."""
