"""Clients of outside services: object stores, the backend, downloads, vendors."""
