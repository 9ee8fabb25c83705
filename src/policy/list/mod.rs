//! Texts that yield rules, one file a format. Pure over text: whoever calls has read the file.
