"""Stand-ins for COS with CI, RunningHub, the backend, SCF and Pulsar. They verify what they receive."""
