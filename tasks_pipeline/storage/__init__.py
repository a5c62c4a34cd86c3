"""Where everything lies: spool, lake, state database, blobs. The only package that speaks SQL."""
