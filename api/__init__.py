"""The HTTP API: one file per noun, its routes and their shapes. Routes translate; `services` does the work."""
