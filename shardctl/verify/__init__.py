"""Compare a checkpoint with its index, its checksums, its format's rules, or another checkpoint.

Everything that is wrong is a finding, and the search goes on to find the rest. `checks` looks at
headers, names and the index; `deep` reads all the bytes; `against` compares with another
checkpoint.
"""
