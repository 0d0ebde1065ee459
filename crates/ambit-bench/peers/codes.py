"""Codes of faiss, usearch and turbovec, one thread: BASE.npy QUERIES.npy -> JSON.

Recall@10 of the scan alone and processor time of a query, as the median; encoding; a block of
400 queries on the exact index, which goes through BLAS.
"""
import json
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"

import faiss
import numpy as np
import turbovec
import usearch
from importlib.metadata import version
from usearch.index import MetricKind, ScalarKind, search

faiss.omp_set_num_threads(1)
base = np.load(sys.argv[1])
queries = np.load(sys.argv[2])[:400]
dim = base.shape[1]


def cpu():
    return time.process_time_ns() / 1e6


exact = faiss.IndexFlatIP(dim)
exact.add(base)
batch = float("inf")
for _ in range(3):
    start = cpu()
    _, truth = exact.search(queries, 10)
    batch = min(batch, (cpu() - start) / len(queries))

codes = []


def measure(name, ask, encode_gb=None, questions=queries):
    ask(questions[:1])
    found, took = [], []
    for row in questions:
        start = cpu()
        ids = ask(row[None, :])
        took.append(cpu() - start)
        found.append(np.asarray(ids).ravel()[:10])
    hits = sum(len(set(map(int, a)) & set(map(int, b))) for a, b in zip(found, truth))
    codes.append({
        "name": name,
        "recall": hits / (10 * len(questions)),
        "cpu_ms": float(np.median(took)),
        "encode_gb": encode_gb,
    })


for name, kind in [
    ("faiss SQ8", faiss.ScalarQuantizer.QT_8bit),
    ("faiss SQ4", faiss.ScalarQuantizer.QT_4bit),
    ("faiss SQfp16", faiss.ScalarQuantizer.QT_fp16),
]:
    index = faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(base)
    start = cpu()
    index.add(base)
    rate = base.nbytes / (cpu() - start) / 1e6
    measure(name, lambda q, index=index: index.search(q, 10)[1], rate)

scaled = np.clip(np.round(base * 127 / np.abs(base).max()), -127, 127).astype(np.int8)
asked = np.clip(np.round(queries * 127 / np.abs(queries).max()), -127, 127).astype(np.int8)
measure(
    "usearch i8, exact",
    lambda q: search(scaled, q, 10, MetricKind.IP, exact=True, threads=1).keys,
    questions=asked,
)
bits, asked = np.packbits(base >= 0, axis=1), np.packbits(queries >= 0, axis=1)
measure(
    "usearch b1, exact",
    lambda q: search(
        bits, q, 10, MetricKind.Hamming, exact=True, threads=1, dtype=ScalarKind.B1
    ).keys,
    questions=asked,
)
index = turbovec.TurboQuantIndex(dim=dim, bit_width=4)
index.add(base)
index.prepare()
measure("turbovec 4-bit", lambda q: index.search(q, 10)[1])

print(json.dumps({
    "versions": f"faiss {faiss.__version__}, usearch {version('usearch')}, "
                f"turbovec {version('turbovec')}",
    "codes": codes,
    "batch_cpu_ms": batch,
}))
