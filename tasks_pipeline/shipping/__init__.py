"""What happens when something ships: new releases, their commits and deploys, and what these mean to groups and to people."""
