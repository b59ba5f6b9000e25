"""Rules of a bucket: lifecycle and access from other origins (CORS). Read, compared and written as a whole."""
