-- Addresses that were seen to ask for many: what they ask is not their own.
CREATE TABLE forwarder (
  address TEXT PRIMARY KEY,
  first   INTEGER NOT NULL,
  last    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX forwarder_last ON forwarder (last);
