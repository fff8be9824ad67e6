"""The commands: each parses its options, imports the code that does the work, and calls it."""
