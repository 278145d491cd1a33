"""What carries out the tasks of a run: threads of this process, or workers elsewhere."""
