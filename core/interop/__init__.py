"""To torch's own modules and back: weights, states, packed sequences."""
