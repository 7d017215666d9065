"""A Postgres of one's own in a folder, for whoever has no database and no root.

`folder` starts, stops and describes it; `programs` runs Postgres' own programs, which a wheel brings; `addresses` says
where it may listen.
"""
