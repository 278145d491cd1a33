"""`--report`: a checkpoint, a plan or a verdict as an HTML page or SVG image that loads nothing."""
