"""From an upload to `accepted`: what is asked, the ticket that proves it was sold, the inputs, the record."""
