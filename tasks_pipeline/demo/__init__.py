"""The main job shown in two minutes, on recorded traffic of real clients."""
