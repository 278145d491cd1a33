"""TARGET: what it means, and which of its files go, stay or come along."""
