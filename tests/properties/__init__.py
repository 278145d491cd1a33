"""What holds for every checkpoint, tried on many that hypothesis makes up."""
