"""The commands, thin: each reads its options and calls the room that does the work, importing it only then."""
