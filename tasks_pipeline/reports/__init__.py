"""Reports: what a day, week or month came to for a project, a team or the organisation, and who is told."""
