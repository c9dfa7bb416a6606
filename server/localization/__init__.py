"""What a market expects: its language, its days, its money.

locales    language, script and region of a tag, filled in by CLDR
titles     which of a product's titles a locale reads
labels     what says in a language that a machine made a picture
prices     amounts of money as they are written there
markets    seasons, festivals and what is avoided, from files that a shop can edit
occasions  market and day become an occasion, and an occasion a scene
"""
