"""Pages for people: HTML that is made here, and needs neither scripts nor anything from elsewhere."""
