"""`analytics`: facts about what the product and its people did, and figures of days."""
