"""Exact search of faiss and search by turbovec's codes, one thread: BASE.npy QUERIES.npy -> JSON.

Processor time of one query at a time (median) and of a query in a block of all of them (faiss
through BLAS); of turbovec with the 20 best rows scored again, and how many of the true 10 it finds.
"""
import json
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
base = np.load(sys.argv[1], mmap_mode="r")
queries = np.load(sys.argv[2])


def cpu():
    return time.process_time_ns() / 1e6


def one_by_one(ask, questions):
    took, found = [], []
    ask(questions[:1])
    for row in questions:
        start = cpu()
        found.append(ask(row[None, :]))
        took.append(cpu() - start)
    return float(np.median(took)), found


index = faiss.IndexFlatIP(base.shape[1])
for first in range(0, len(base), 1 << 16):
    index.add(np.ascontiguousarray(base[first:first + (1 << 16)]))
some = queries[:100]
flat, _ = one_by_one(lambda q: index.search(q, 10)[1], some)
batch = float("inf")
for _ in range(3 if len(base) < 200_000 else 1):
    start = cpu()
    _, truth = index.search(queries, 10)
    batch = min(batch, (cpu() - start) / len(queries))
told = {"version": f"faiss {faiss.__version__}", "flat_ms": flat, "batch_ms": batch}
del index

try:
    import turbovec
    from importlib.metadata import version

    codes = turbovec.TurboQuantIndex(dim=base.shape[1], bit_width=4)
    for first in range(0, len(base), 1 << 16):
        codes.add(np.ascontiguousarray(base[first:first + (1 << 16)]))
    codes.prepare()

    def rescored(q):
        ids = np.asarray(codes.search(q, 20)[1]).astype(np.int64)
        best = []
        for row, own in zip(q, ids):
            scores = base[own] @ row
            best.append(own[np.argsort(-scores)[:10]])
        return np.array(best)

    turbo, found = one_by_one(rescored, some)
    hits = sum(len(set(a[0].tolist()) & set(b.tolist())) for a, b in zip(found, truth))
    start = cpu()
    rescored(queries)
    told.update({
        "version": f"{told['version']}, turbovec {version('turbovec')}",
        "turbo_ms": turbo,
        "turbo_recall": hits / (10 * len(some)),
        "turbo_batch_ms": (cpu() - start) / len(queries),
    })
except ImportError:
    pass
print(json.dumps(told))
