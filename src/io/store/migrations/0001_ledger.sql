-- Times are unix milliseconds UTC, days are days since 1970-01-01 UTC, counts are attempts.

-- One value each: sensor (random id), sequence (sightings committed), attempts (attempts committed), lost (attempts that
-- reached no row), last_activation, heartbeat, closed (1 after an orderly end).
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- What was enforced: settings and list revisions under a durable id.
CREATE TABLE policy (
  id        TEXT PRIMARY KEY,           -- 32 hex digits
  settings  TEXT NOT NULL,
  revisions TEXT NOT NULL               -- JSON object: list id -> revision
) STRICT, WITHOUT ROWID;

-- And when.
CREATE TABLE activation (
  id           INTEGER PRIMARY KEY,
  policy       TEXT NOT NULL REFERENCES policy (id),
  activated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX activation_at ON activation (activated_at);
CREATE INDEX activation_policy ON activation (policy);

CREATE TABLE rule (
  id       INTEGER PRIMARY KEY,
  vendor   TEXT NOT NULL,
  purpose  TEXT NOT NULL,
  list     TEXT NOT NULL,
  revision TEXT NOT NULL,
  place    TEXT NOT NULL,               -- file:line
  pattern  TEXT NOT NULL,
  UNIQUE (list, revision, place, pattern, vendor, purpose)
) STRICT;

-- A device; everything that is known of it is a dated fact.
CREATE TABLE endpoint (
  id    INTEGER PRIMARY KEY,
  first INTEGER NOT NULL,
  last  INTEGER NOT NULL
) STRICT;

CREATE TABLE endpoint_fact (
  endpoint INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
  kind     TEXT NOT NULL CHECK (kind IN ('address', 'mac', 'name')),
  value    TEXT NOT NULL,
  first    INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  PRIMARY KEY (endpoint, kind, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX endpoint_fact_value ON endpoint_fact (kind, value, last);

-- Endpoint x vendor x purpose.
CREATE TABLE ledger (
  id       INTEGER PRIMARY KEY,
  endpoint INTEGER NOT NULL REFERENCES endpoint (id) ON DELETE CASCADE,
  vendor   TEXT NOT NULL,
  purpose  TEXT NOT NULL,
  first    INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  blocked  INTEGER NOT NULL,
  observed INTEGER NOT NULL,
  excepted INTEGER NOT NULL,
  leaked   INTEGER NOT NULL,
  unknown  INTEGER NOT NULL,
  UNIQUE (endpoint, vendor, purpose)
) STRICT;
CREATE INDEX ledger_last ON ledger (last);

CREATE TABLE ledger_channel (
  ledger  INTEGER NOT NULL REFERENCES ledger (id) ON DELETE CASCADE,
  channel TEXT NOT NULL,
  last    INTEGER NOT NULL,
  count   INTEGER NOT NULL,
  PRIMARY KEY (ledger, channel)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_day (
  ledger   INTEGER NOT NULL REFERENCES ledger (id) ON DELETE CASCADE,
  day      INTEGER NOT NULL,
  hours    BLOB NOT NULL,               -- packed: hour << 3 | outcome, then the count as LEB128, repeated
  first    INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  count    INTEGER NOT NULL,
  blocked  INTEGER NOT NULL,
  observed INTEGER NOT NULL,
  excepted INTEGER NOT NULL,
  leaked   INTEGER NOT NULL,
  unknown  INTEGER NOT NULL,
  PRIMARY KEY (ledger, day)
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_day_day ON ledger_day (day);

-- Where a row's attempts wanted to go; bounded for each row, what is beyond is "(others)".
CREATE TABLE destination (
  ledger      INTEGER NOT NULL REFERENCES ledger (id) ON DELETE CASCADE,
  destination TEXT NOT NULL,
  channel     TEXT NOT NULL,
  rule        INTEGER NOT NULL REFERENCES rule (id),  -- the one that decided last
  first       INTEGER NOT NULL,
  last        INTEGER NOT NULL,
  count       INTEGER NOT NULL,
  PRIMARY KEY (ledger, destination, channel)
) STRICT, WITHOUT ROWID;
CREATE INDEX destination_last ON destination (last);
CREATE INDEX destination_rule ON destination (rule);

-- Recent sightings as they came, a ring by sequence.
CREATE TABLE sample (
  sequence    INTEGER PRIMARY KEY,
  policy      TEXT NOT NULL,
  client      TEXT NOT NULL,
  origin      TEXT NOT NULL,
  channel     TEXT NOT NULL,
  destination TEXT NOT NULL,
  port        INTEGER,
  rule        INTEGER NOT NULL REFERENCES rule (id),
  verdict     TEXT NOT NULL,
  outcome     TEXT NOT NULL,
  first       INTEGER NOT NULL,
  last        INTEGER NOT NULL,
  count       INTEGER NOT NULL
) STRICT;
CREATE INDEX sample_rule ON sample (rule);

-- When nothing, or not everything, was seen.
CREATE TABLE gap (
  id       INTEGER PRIMARY KEY,
  why      TEXT NOT NULL CHECK (why IN ('stopped', 'died', 'paused', 'lost')),
  started  INTEGER NOT NULL,
  ended    INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,  -- known to be lost in it
  note     TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX gap_ended ON gap (ended);

-- For people with an SQL tool.
CREATE VIEW attempts_by_day AS
  SELECT l.endpoint,
         (SELECT group_concat(f.value, ' ') FROM endpoint_fact f WHERE f.endpoint = l.endpoint AND f.kind = 'address') AS addresses,
         l.vendor, l.purpose, date(d.day * 86400, 'unixepoch') AS day, d.count, d.blocked, d.observed, d.excepted, d.leaked, d.unknown
    FROM ledger_day d JOIN ledger l ON l.id = d.ledger;
