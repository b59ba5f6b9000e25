"""HTTP side of the API: app, problems, tokens, limits, server, Function URL."""
