"""Stand-ins for COS with CI, RunningHub, Ark, TokenHub, the backend, SCF and Pulsar. They verify what they receive."""
