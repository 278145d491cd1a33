"""What lies in a directory, by its names, and which checkpoint of it is meant."""
