"""Personal data: the keys it is stored under, its retention, and forgetting a buyer."""
