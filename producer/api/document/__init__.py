"""Description of the API: the OpenAPI document, and a page rendered from it."""
