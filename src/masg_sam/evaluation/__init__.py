"""How good masks are: metrics with one set of rules, tables, and comparisons."""
