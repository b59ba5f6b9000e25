"""What lies outside: object stores, the ledger on them, the backend, downloads, tickets, vendors."""
