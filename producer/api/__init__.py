"""HTTP API: create, watch, cancel, list and count tasks.

wire         documents that travel
submissions  from a request to a task: checks, the backend's sale, task.json, acceptance
states       the state of a task as its user sees it; lists
progress     events of a run from its records. Pure
watch        one poll of the ledger for all that watch a task
stats        statistics by listing alone
uploads      purchases of clients that upload themselves
steps        the backend starts the next step of a pipeline
health       reachability of what the API needs
routes       table of operations; the OpenAPI document is made from it
http         ASGI app, problems, tokens, limits, server, Function URL
document     OpenAPI document and its page
"""
