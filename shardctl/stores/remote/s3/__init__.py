"""Buckets with the interface of Amazon S3, which are written as well: by uploads in parts."""
