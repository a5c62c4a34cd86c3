"""What commands share: output for people and programs, progress, the state they look into."""
