"""What is stored, as pages, API and commands show it: queries, lists, groups, events. Nothing here writes."""
