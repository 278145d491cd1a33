"""Where bytes are: what a store promises, local files, and which store a URL means."""
