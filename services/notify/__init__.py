"""The words and looks of notifications."""
