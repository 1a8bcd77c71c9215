"""What each door costs above a call from C."""
