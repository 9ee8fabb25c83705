-- Devices are known by more than their address, and what packets show of ways around a block and of relays is kept.

DROP VIEW attempts_by_day;
CREATE TABLE endpoint_fact_new (
  endpoint INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
  kind     TEXT NOT NULL CHECK (kind IN ('address', 'mac', 'client-id', 'name', 'vendor-class', 'segment')),
  value    TEXT NOT NULL,
  first    INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  PRIMARY KEY (endpoint, kind, value)
) STRICT, WITHOUT ROWID;
INSERT INTO endpoint_fact_new SELECT endpoint, kind, value, first, last FROM endpoint_fact;
DROP TABLE endpoint_fact;
ALTER TABLE endpoint_fact_new RENAME TO endpoint_fact;
CREATE INDEX endpoint_fact_value ON endpoint_fact (kind, value, last);

CREATE VIEW attempts_by_day AS
  SELECT l.endpoint,
         (SELECT group_concat(f.value, ' ') FROM endpoint_fact f WHERE f.endpoint = l.endpoint AND f.kind = 'address') AS addresses,
         l.vendor, l.purpose, date(d.day * 86400, 'unixepoch') AS day, d.count, d.blocked, d.observed, d.excepted, d.leaked, d.unknown
    FROM ledger_day d JOIN ledger l ON l.id = d.ledger;

-- A blocked name, and what its endpoint did to get around the block.
CREATE TABLE incident (
  id       INTEGER PRIMARY KEY,
  endpoint INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
  vendor   TEXT NOT NULL,
  started  INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  answer   TEXT,                        -- how the blocked name had been answered, where that was seen
  steps    TEXT NOT NULL,               -- JSON array of [unix milliseconds, what]
  UNIQUE (endpoint, vendor, started)
) STRICT;
CREATE INDEX incident_last ON incident (last);

-- Hosts that serve a vendor's relay ports, and who talks to them.
CREATE TABLE relay (
  host   TEXT NOT NULL,
  port   INTEGER NOT NULL,
  vendor TEXT NOT NULL,
  client TEXT NOT NULL,
  usage  TEXT NOT NULL,                 -- what the port is for, as the vendor file says
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  PRIMARY KEY (host, port, vendor, client)
) STRICT, WITHOUT ROWID;
CREATE INDEX relay_last ON relay (last);
