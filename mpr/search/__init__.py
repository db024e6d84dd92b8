"""From texts to vectors and from vectors to rankings: encoding, exact search, faiss, BM25.

In: token stores and a model, or words. Out: committed stores of vectors, and for each question the k best passages.

Encoding (`encode`, `inference`, `padding`, `vectors`) is done in committed shards, so it can be stopped, continued and
shared by processes. Exact search (`exact`) gives the ranking of a 64-bit computation, bit for bit, within a memory
budget: a fast first pass drops only passages for which an error bound proves that they cannot be among the k best. What
it is made of is private: `_first_pass`, `_error_bounds`, `_survivors`. `shards` says what a search needs of a store,
and `top_k` has the scores, their order, and the k best.

Door: `encode.run`, `vectors.VectorStore`, `inference.Model`, `exact.Exact`, `search` (one batch, or several processes
together), `faiss_index`, `bm25`.
"""
