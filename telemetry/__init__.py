"""Logs, traces and metrics of the work, and the type of secrets.

secrets      Secret: a value that prints as ***
redaction    the filter for every log line and span attribute
printable    escaping of control characters
events       catalogue of event names
fields       catalogue of fields of log lines and spans
instruments  catalogue of metrics and spans
logs         JSON logs, one line for each event
tracing      W3C trace context and spans
metrics      counters, histograms and gauges
exporters    opens the exporters of a process: trace file, OTLP collector
otel         spans and metrics over OTLP; imported only if an endpoint is set
sending      background thread that sends to the collector
trace_file   spans in a local file
points       named points at which tests stop a process

The package imports no other package of the product, and all modules but `otel` import only the standard library, so a
cold start stays fast.
"""
