"""From an upload to `accepted`: the request, the ticket that proves the sale, the inputs, the record."""
