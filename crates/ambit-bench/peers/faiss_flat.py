"""faiss IndexFlatIP, one thread, one query at a time: BASE.npy QUERIES.npy -> JSON."""
import json
import sys
import time

import faiss
import numpy as np

faiss.omp_set_num_threads(1)
base = np.load(sys.argv[1])
queries = np.load(sys.argv[2])
index = faiss.IndexFlatIP(base.shape[1])
index.add(base)
for query in queries[:5]:
    index.search(query[None, :], 10)
cpu, wall = [], []
for query in queries:
    start, clock = time.thread_time_ns(), time.perf_counter_ns()
    index.search(query[None, :], 10)
    cpu.append(time.thread_time_ns() - start)
    wall.append(time.perf_counter_ns() - clock)
print(json.dumps({
    "version": faiss.__version__,
    "cpu_ms": float(np.median(cpu)) / 1e6,
    "wall_ms": float(np.median(wall)) / 1e6,
}))
