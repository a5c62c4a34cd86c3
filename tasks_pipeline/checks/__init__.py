"""Asset checks: what must hold for stored data; each asks the domain and reports."""
