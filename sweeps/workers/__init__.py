"""What runs inside a worker process, and what starts one."""
