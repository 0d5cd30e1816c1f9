"""The local generator: transformers in this process, with the few-shots that prompts share read once."""
