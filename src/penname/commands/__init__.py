"""One module a command: `flags` declares its flags, `run` does it and returns the exit code."""
