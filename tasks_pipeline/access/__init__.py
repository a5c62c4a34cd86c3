"""Who may see and do what: the viewer of pages and caller of the Web API, tokens, logins, sessions."""
