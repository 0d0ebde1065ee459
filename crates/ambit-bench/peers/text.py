"""tantivy on the same texts and queries: text.py TEXTS QUERIES, a line each."""
import json, os, statistics, sys, tempfile, time
import tantivy

texts, queries = (open(path, encoding="utf-8").read().split("\n")[:-1] for path in sys.argv[1:3])
schema = tantivy.SchemaBuilder()
schema.add_text_field("text", stored=False, tokenizer_name="en_stem", index_option="freq")
with tempfile.TemporaryDirectory() as folder:
    index = tantivy.Index(schema.build(), path=folder)
    begun = time.process_time()
    writer = index.writer(128 << 20, num_threads=1)
    for text in texts:
        writer.add_document(tantivy.Document(text=text))
    writer.commit()
    writer.wait_merging_threads()
    index_cpu = time.process_time() - begun
    held = sum(entry.stat().st_size for entry in os.scandir(folder))
    index.reload()
    searcher = index.searcher()
    asked = [index.parse_query(query, ["text"]) for query in queries]
    took = []
    for query in asked:
        begun = time.thread_time()
        searcher.search(query, 10, count=False)
        took.append((time.thread_time() - begun) * 1e3)
    print(json.dumps({
        "version": tantivy.__version__.split(",")[0],
        "index_cpu": index_cpu,
        "bytes": held,
        "median_ms": statistics.median(took),
        "mean_ms": statistics.fmean(took),
    }))
