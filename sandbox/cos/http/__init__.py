"""Transport of COS requests and answers: addresses, signatures, headers, XML."""
