"""Volcengine Ark, pictures of the Seedream models: client, answers, codes and the rules of each model."""
