"""What the live page of a sweep shows: its view, the plane of its trials, and its best points so far."""
