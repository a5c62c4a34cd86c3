"""What stands in reports, read from the tables of figures: a module for each section. How it is compared and put together lies above."""
