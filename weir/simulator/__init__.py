"""`weir simulate`: the cores of all roles in virtual time."""
