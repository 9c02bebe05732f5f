"""The review page: one doubtful particle at a time, and the tools that mend it."""
