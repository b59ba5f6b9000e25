"""Stand-ins for everything outside: COS with CI, the vendor, the backend. They verify, they do not trust."""
