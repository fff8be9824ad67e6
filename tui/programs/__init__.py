"""The monitor for programs: lines for pipes and logs, and a snapshot. It draws nothing."""
