"""Tables of poses: where the parts of bodies are in each frame, as features."""
