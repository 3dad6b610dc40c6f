"""From a raw log to trainable sequences: read, clean, encode, split, window, batch."""
