"""The work that HTTP, terminal and activities share, each command once: one file per noun."""
