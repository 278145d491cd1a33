"""The tests of shardctl."""
