"""From addresses and minified positions to functions, files and lines; from obfuscated names to the original ones."""
