"""TokenHub, and every other endpoint with OpenAI's form of chat completions: client, answers and codes."""
