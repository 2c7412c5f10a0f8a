"""What operators run on the database: check and prune."""
