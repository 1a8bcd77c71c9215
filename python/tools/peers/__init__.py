"""Other libraries' grouped products beside this library's: checked first, then timed round by round."""
