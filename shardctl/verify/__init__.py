"""Compare what is with what the index, the checksums, the format's rules, or another checkpoint say.

Everything that is wrong is a finding, and the search goes on to find the rest. `checks` looks at
headers, names and the index; `deep` reads all the bytes; `against` compares with another
checkpoint.
"""
