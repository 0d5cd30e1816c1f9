"""The generator behind URLs: any OpenAI-compatible servers, with limits, retries and failover."""
