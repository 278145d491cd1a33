"""A checkpoint, a plan or a verdict as a picture to keep: one HTML page or SVG file that needs nothing but itself."""
