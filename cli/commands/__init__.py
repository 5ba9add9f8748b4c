"""The commands of `paysaga`, one file per noun."""
