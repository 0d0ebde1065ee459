"""Bits a value that ZipNN takes for the rows of ROWS.npy -> JSON."""
import importlib.metadata
import json
import sys

import numpy as np
from zipnn import ZipNN

rows = np.load(sys.argv[1])
zipnn = ZipNN(input_format="byte", bytearray_dtype="float32")
compressed = zipnn.compress(bytearray(rows.tobytes()))
back = zipnn.decompress(compressed)
assert bytes(back) == rows.tobytes(), "not bit for bit"
print(json.dumps({
    "version": importlib.metadata.version("zipnn"),
    "bits": 8 * len(compressed) / rows.size,
}))
