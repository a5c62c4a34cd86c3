"""What is made of a release when it ships, with groups and notifications. Rows of releases are in `releases`."""
