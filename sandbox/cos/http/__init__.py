"""How COS requests and answers travel: addresses, signatures, headers, XML."""
