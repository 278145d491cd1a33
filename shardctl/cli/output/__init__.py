"""What a command prints: documents, rows, and what a terminal shows."""
