"""Moving bytes: gathering views, running work in parallel, counting progress."""
