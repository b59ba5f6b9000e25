"""What is told about the work while it is done: logs, traces, metrics, and the type of what must never be told.

secrets     Secret: a value that prints as ***
redaction   the one filter that every log line passes
events      the catalogue of event names
logs        JSON logs, one line an event
tracing     W3C trace context, and where spans will go
metrics     where counts and durations will go

A leaf: it imports the standard library only, so it costs a cold start next to nothing.
"""
