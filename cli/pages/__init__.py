"""The pages that operators read, one file per noun."""
