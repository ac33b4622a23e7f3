"""What is watched in the served log, and when it is an alarm; pure."""
