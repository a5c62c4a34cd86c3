"""The state database: rows that change one at a time. Its engine, its tables, its migrations; what the rows mean lies with each subject."""
