"""Parts that several kinds share: rules of the picture service and of models, scenes, words for prompts. Pure."""
