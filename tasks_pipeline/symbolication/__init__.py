"""From addresses and minified positions to functions, files and lines; from obfuscated names to the original ones.

docs/symbolication.md says how. `symbolicator` is the way in, `source` what it needs from storage.
"""
