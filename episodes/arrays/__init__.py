"""Episodes from a user's own arrays: an npz, parquet or CSV file with a row an example."""
