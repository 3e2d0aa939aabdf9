-- Times are milliseconds since 1970, by the clock of the boot of the host that wrote them, see `boots`. What changes here changes in the other dialect's folder, too.

-- One row for each instance that ever was, until it is pruned.
CREATE TABLE instances (
    id TEXT NOT NULL PRIMARY KEY,
    pool TEXT NOT NULL,
    flavor TEXT NOT NULL,
    site TEXT NOT NULL,
    image TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    generation INTEGER NOT NULL,
    runner TEXT NOT NULL,
    stage TEXT,
    created_ms INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    ready_ms INTEGER,
    claimed_ms INTEGER,
    deadline_ms INTEGER,
    hold_until_ms INTEGER,
    retry_ms INTEGER,
    attempts INTEGER NOT NULL,
    address TEXT,
    server_name TEXT,
    needs_claim INTEGER NOT NULL,
    cause_code TEXT,
    cause_evidence TEXT,
    place TEXT NOT NULL,
    token TEXT NOT NULL,
    batch_index INTEGER NOT NULL,
    batch_size INTEGER NOT NULL
) STRICT;

-- One row for each stage. `flavor` is that of the first candidate: stages that wait for it are served in their order.
CREATE TABLE stages (
    id TEXT NOT NULL PRIMARY KEY,
    pool TEXT NOT NULL,
    flavor TEXT NOT NULL,
    candidates TEXT NOT NULL,
    account TEXT NOT NULL,
    state TEXT NOT NULL,
    generation INTEGER NOT NULL,
    instance TEXT,
    created_ms INTEGER NOT NULL,
    wait_until_ms INTEGER NOT NULL,
    run_ms INTEGER NOT NULL,
    assigned_ms INTEGER,
    set_up INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    why TEXT NOT NULL,
    cause_code TEXT,
    cause_evidence TEXT,
    ended_ms INTEGER
) STRICT;

-- The timeline. Written last in the transaction of the change itself.
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    subject TEXT NOT NULL,
    id TEXT NOT NULL,
    pool TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;

-- When each host booted, by the wall clock of that time: the origin of the clock that dates rows.
CREATE TABLE boots (
    boot TEXT NOT NULL PRIMARY KEY,
    epoch_ms INTEGER NOT NULL
) STRICT;

-- The present process of each runner; `beat` grows whenever it asks for leases.
CREATE TABLE runners (
    name TEXT NOT NULL PRIMARY KEY,
    process TEXT NOT NULL,
    beat INTEGER NOT NULL
) STRICT;

-- Which runner, and which process of it, works on which pool and sweeps which site; empty when it was given up. `beat` grows with
-- each change, and a lease whose beat has stood still for long enough may be taken.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    process TEXT NOT NULL,
    beat INTEGER NOT NULL
) STRICT;

-- Failed starts of a flavor since its last success.
CREATE TABLE streaks (
    flavor TEXT NOT NULL PRIMARY KEY,
    failures INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    evidence TEXT NOT NULL
) STRICT;

-- Pools that an operator drains.
CREATE TABLE drained (
    pool TEXT NOT NULL PRIMARY KEY
) STRICT;

-- Rows that a transaction touches first, so that the next one of the same name waits for it.
CREATE TABLE locks (
    name TEXT NOT NULL PRIMARY KEY,
    taken INTEGER NOT NULL
) STRICT;

-- What is decided once for ever.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- The claim: the oldest of a kind that is ready.
CREATE INDEX instances_ready ON instances (flavor, image, created_ms, id) WHERE state = 'ready';
-- No stage has two instances.
CREATE UNIQUE INDEX instances_claimed ON instances (stage) WHERE state = 'claimed';
-- Limits.
CREATE INDEX instances_counted ON instances (pool, flavor) WHERE state <> 'gone';
CREATE INDEX instances_live ON instances (created_ms, id) WHERE state <> 'gone';
CREATE INDEX instances_gone ON instances (since_ms) WHERE state = 'gone';
CREATE INDEX instances_newest ON instances (created_ms, id);
-- No instance has two stages.
CREATE UNIQUE INDEX stages_assigned ON stages (instance) WHERE state = 'assigned';
-- Whether an older one waits.
CREATE INDEX stages_waiting ON stages (flavor, created_ms, id) WHERE state = 'waiting';
CREATE INDEX stages_open ON stages (created_ms, id) WHERE state <> 'ended';
CREATE INDEX stages_ended ON stages (ended_ms) WHERE state = 'ended';
CREATE INDEX stages_newest ON stages (created_ms, id);
CREATE INDEX changes_of ON changes (id, seq);
