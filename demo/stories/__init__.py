"""The stories of the demo: what is done to a checkout, and how it has to end."""
