-- What was seen of a row's attempts besides where they wanted to go; the first few of each row.
CREATE TABLE evidence (
  ledger  INTEGER NOT NULL REFERENCES ledger (id) ON DELETE CASCADE,
  channel TEXT NOT NULL,
  what    TEXT NOT NULL,
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  PRIMARY KEY (ledger, channel, what)
) STRICT, WITHOUT ROWID;
