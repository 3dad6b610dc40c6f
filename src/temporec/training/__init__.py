"""The training loop and what it needs: schedule, stopping, checkpoints."""
