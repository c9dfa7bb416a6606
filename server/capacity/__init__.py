"""How many devices so many requests need, and whether that is true.

figures     what a forward takes, and who measured that
plan        the arithmetic: requests → images → forward rows → devices
simulation  the planned fleet with the real scheduler, admission and placement, in no real time
telling     what both say, to people and to programs
"""
