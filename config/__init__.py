"""The settings: every `PAYSAGA_*` variable."""
