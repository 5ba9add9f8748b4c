"""Worker processes: what they register, how many tasks they take, and the schedules."""
