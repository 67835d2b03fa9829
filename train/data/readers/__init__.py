"""One module per way of reading: each reader takes a ReadRequest and returns a Data."""
