"""Entry points: each turns an outside event (an upload, a webhook, a timer) into records and messages."""
