"""The finished trainings of a sweep as runs of the experiment trackers that people have."""
