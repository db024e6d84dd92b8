"""One file per collection: where its texts, questions and labels come from, and what is known of their counts."""
