"""From a pickle's inert values to named tensors, and what else is there."""
