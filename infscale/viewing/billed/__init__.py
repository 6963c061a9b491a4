"""A bill, as another process tells it: read, summed up, and written as a table or in OpenCost's form."""
