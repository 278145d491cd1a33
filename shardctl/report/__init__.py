"""A checkpoint, a plan or a verdict as an HTML page or an SVG image that loads nothing."""
