"""From the environment to objects: settings, wiring, and the side that faces the cloud function platform."""
