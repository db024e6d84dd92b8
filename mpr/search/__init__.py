"""From texts to vectors and from vectors to rankings: encoding, exact search, faiss, BM25.

In: token stores and a model, or words. Out: committed stores of vectors, and for each question the k best passages.

Exact search gives the ranking of a 64-bit computation, bit for bit, within a memory budget: a fast first pass drops
only passages for which an error bound proves that they cannot be among the k best (`exact`, and the private files it
is made of). Encoding is done in committed shards, so it can be stopped, continued and shared by processes.

Door: `encode`, `vectors.VectorStore`, `exact.Exact`, `bm25`, `faiss_index`, `search.Shared`.
"""
