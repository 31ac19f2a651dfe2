"""Tasks on the sentences of a document: where a topic ends (`segmentation`), which ones sum it up (`summarization`)."""
