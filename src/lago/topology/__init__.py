"""The wish (`spec`), the decision (`model`, made by `resolve`), and the decision on disk (`state`)."""
