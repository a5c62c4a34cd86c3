"""The pipeline watches itself: probes, what they mean, and the ways out when the usual one is what broke."""
