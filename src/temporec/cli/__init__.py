"""The command line: one file per verb; heavy things are imported inside the commands."""
