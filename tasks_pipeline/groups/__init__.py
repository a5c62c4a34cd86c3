"""Groups: what one is to people, how events find and change it, how it is merged and counted."""
