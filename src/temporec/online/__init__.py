"""The learner: small steps on the newest events, versions that must prove themselves, and the way back."""
