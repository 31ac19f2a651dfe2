"""Pre-training: raw text to token shards (`prepare`), and shards to a stream of examples (`stream`)."""
