"""The command `craft-hf`; one module for each subcommand."""
