"""Learned codes of faiss and turbovec, one thread: BASE.npy QUERIES.npy -> JSON.

Recall@10 of the scan alone, bytes of a row, processor time of a query (median) and megabytes of
float32 that are coded in a second; k-means of 512 clusters.
"""
import json
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

import faiss
import numpy as np
import turbovec
from importlib.metadata import version

faiss.omp_set_num_threads(1)
base = np.load(sys.argv[1])
queries = np.load(sys.argv[2])
dim = base.shape[1]
inner = faiss.METRIC_INNER_PRODUCT


def cpu():
    return time.process_time_ns() / 1e6


exact = faiss.IndexFlatIP(dim)
exact.add(base)
_, truth = exact.search(queries, 10)
codes = []


def measure(name, code_len, train, add, ask):
    train()
    start = cpu()
    add()
    rate = base.nbytes / 1e3 / (cpu() - start)
    ask(queries[:1])
    found, took = [], []
    for row in queries:
        start = cpu()
        ids = ask(row[None, :])
        took.append(cpu() - start)
        found.append(np.asarray(ids).ravel()[:10])
    hits = sum(len(set(map(int, a)) & set(map(int, b))) for a, b in zip(found, truth))
    codes.append({
        "name": name,
        "code_len": code_len,
        "recall": hits / (10 * len(queries)),
        "cpu_ms": float(np.median(took)),
        "encode_mb": rate,
    })


def of_faiss(name, index, code_len):
    measure(
        name, code_len, lambda: index.train(base), lambda: index.add(base),
        lambda q: index.search(q, 10)[1],
    )


for parts in (96, 192, 384):
    of_faiss(f"faiss PQ{parts}x4 fast-scan", faiss.IndexPQFastScan(dim, parts, 4, inner), parts / 2)
pq = faiss.IndexPQFastScan(dim, 96, 4, inner)
opq = faiss.OPQMatrix(dim, 96)
opq.niter = 10
opq.pq = faiss.ProductQuantizer(dim, 96, 4)
of_faiss("faiss OPQ96, PQ96x4 fast-scan", faiss.IndexPreTransform(opq, pq), 48)
of_faiss("faiss PQ48x8", faiss.IndexPQ(dim, 48, 8, inner), 48)
for bits in (1, 2, 4):
    index = faiss.IndexRaBitQ(dim, inner, bits)
    turn = faiss.RandomRotationMatrix(dim, dim)
    of_faiss(f"faiss RaBitQ {bits}-bit", faiss.IndexPreTransform(turn, index), index.code_size)
index = faiss.IndexRaBitQFastScan(dim, inner)
turn = faiss.RandomRotationMatrix(dim, dim)
of_faiss("faiss RaBitQ 1-bit fast-scan", faiss.IndexPreTransform(turn, index), dim / 8 + 8)
for bits in (2, 4):
    index = turbovec.TurboQuantIndex(dim=dim, bit_width=bits)
    measure(
        f"turbovec {bits}-bit", dim * bits / 8 + 8, lambda: None,
        lambda: (index.add(base), index.prepare()), lambda q: index.search(q, 10)[1],
    )

means = faiss.Kmeans(dim, 512, niter=16, max_points_per_centroid=10**9)
start = cpu()
means.train(base)
print(json.dumps({
    "versions": f"faiss {faiss.__version__}, turbovec {version('turbovec')}",
    "codes": codes,
    "kmeans_s": (cpu() - start) / 1e3,
    "kmeans_distortion": float(means.obj[-1]) / len(base),
}))
