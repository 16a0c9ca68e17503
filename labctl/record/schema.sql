CREATE TABLE meta (
    -- What the run is: one JSON value per key (configuration, seed, provenance, ...).
    -- The key 'layers', where present, gives per layer name its channels:
    --   {"cavity": {"inputs": [{"name": ..., "unit": ...}, ...], "outputs": [...]}}
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL             -- JSON
) WITHOUT ROWID;

CREATE TABLE states (
    -- A state of a layer's parameters, configuration and calibration, and how its passes are stored.
    id             INTEGER PRIMARY KEY,
    layer          TEXT    NOT NULL,
    state_id       TEXT    NOT NULL,    -- equal ids promise equal physics
    n_inputs       INTEGER NOT NULL,    -- a drive is n_inputs little-endian float32
    n_outputs      INTEGER NOT NULL,    -- a response is n_outputs numbers of response_dtype
    response_dtype TEXT    NOT NULL,    -- byte order, kind and bytes as numpy writes them: <f4, <u2, |u1, <c8
    UNIQUE (layer, state_id, n_inputs, n_outputs, response_dtype)
);

CREATE TABLE passes (
    -- One row per physical pass: a drive went in, a response came out. Never changed, never deleted.
    key      INTEGER PRIMARY KEY,                       -- id * 256 + repeat
    id       INTEGER GENERATED ALWAYS AS (key >> 8) VIRTUAL,
    repeat   INTEGER GENERATED ALWAYS AS (key & 255) VIRTUAL,   -- 0 = first attempt
    step     INTEGER NOT NULL,      -- training step the pass was measured for
    block    INTEGER NOT NULL,      -- block of the network
    purpose  TEXT    NOT NULL,      -- train, statistics, test, evaluate, predict, baseline, reference, map
    sample   INTEGER NOT NULL,      -- index into the data set
    label    INTEGER NOT NULL,      -- label embedded in the drive, -1 = none
    state    INTEGER NOT NULL REFERENCES states (id),
    status   INTEGER NOT NULL,      -- 0 ok, 1 clipped, 2 xrun, 3 stale, 4 overload, 5 failed; only ok is learnt from
    time_s   REAL    NOT NULL,      -- POSIX seconds at which the response was read
    drive    BLOB    NOT NULL,
    response BLOB    NOT NULL
);

CREATE INDEX passes_by_purpose
    -- Lets passes be counted without reading their blobs.
    ON passes (purpose, block, status);

CREATE TABLE steps (
    -- One row per training step, written after its passes.
    step    INTEGER PRIMARY KEY,
    epoch   INTEGER NOT NULL,
    time_s  REAL    NOT NULL,       -- POSIX seconds
    metrics TEXT    NOT NULL        -- JSON: number by name; what is not finite is the text "nan", "inf" or "-inf"
);

CREATE TABLE events (
    -- Whatever else happened, in order. 'opened' and 'closed' frame each session of a writing process.
    number INTEGER PRIMARY KEY,
    time_s REAL NOT NULL,           -- POSIX seconds
    kind   TEXT NOT NULL,
    detail TEXT NOT NULL            -- JSON
);

CREATE TABLE checkpoints (
    -- The learner's arrays, the last two. A cache only: they follow from configuration, seed and passes.
    number  INTEGER PRIMARY KEY,
    epoch   INTEGER NOT NULL,
    next_id INTEGER NOT NULL,       -- id of the first pass not yet contained in the arrays
    time_s  REAL    NOT NULL,       -- POSIX seconds
    data    BLOB    NOT NULL        -- numpy .npz
);

CREATE VIEW readable_passes AS
    -- Passes for people.
    SELECT passes.id, repeat, step, block, purpose, sample, label, layer, state_id,
           CASE status WHEN 0 THEN 'ok' WHEN 1 THEN 'clipped' WHEN 2 THEN 'xrun' WHEN 3 THEN 'stale'
                       WHEN 4 THEN 'overload' WHEN 5 THEN 'failed' ELSE status END AS status,
           datetime(time_s, 'unixepoch', 'localtime') AS time,
           n_inputs, n_outputs, response_dtype
    FROM passes JOIN states ON states.id = passes.state;

CREATE VIEW overview AS
    -- How many passes were measured for what, and when.
    SELECT block, purpose, status, count(*) AS passes, min(time) AS first, max(time) AS last
    FROM readable_passes GROUP BY block, purpose, status;
