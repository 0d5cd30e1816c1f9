"""People in the loop: what people say of samples is kept, and flows back into data, checks and prompts."""
