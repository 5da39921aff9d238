"""Many scans on one machine or many: shards, claims, retries, and one table of what became of each."""
