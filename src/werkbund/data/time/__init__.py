"""From readings and a log of failures to rows: points in time with features of windows, and what followed."""
