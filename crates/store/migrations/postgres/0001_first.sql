-- Times are milliseconds since 1970, by the clock of the boot of the host that wrote them, see `boots`. What changes here changes in the other dialect's folder, too.

-- One row for each instance that ever was, until it is pruned.
CREATE TABLE instances (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    pool TEXT COLLATE "C" NOT NULL,
    flavor TEXT COLLATE "C" NOT NULL,
    site TEXT COLLATE "C" NOT NULL,
    image TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    runner TEXT COLLATE "C" NOT NULL,
    stage TEXT COLLATE "C",
    created_ms BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    ready_ms BIGINT,
    claimed_ms BIGINT,
    deadline_ms BIGINT,
    hold_until_ms BIGINT,
    retry_ms BIGINT,
    attempts BIGINT NOT NULL,
    address TEXT COLLATE "C",
    server_name TEXT COLLATE "C",
    needs_claim BIGINT NOT NULL,
    cause_code TEXT COLLATE "C",
    cause_evidence TEXT COLLATE "C",
    place TEXT COLLATE "C" NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    batch_index BIGINT NOT NULL,
    batch_size BIGINT NOT NULL
);

-- One row for each stage. `flavor` is that of the first candidate: stages that wait for it are served in their order.
CREATE TABLE stages (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    pool TEXT COLLATE "C" NOT NULL,
    flavor TEXT COLLATE "C" NOT NULL,
    candidates TEXT COLLATE "C" NOT NULL,
    account TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    instance TEXT COLLATE "C",
    created_ms BIGINT NOT NULL,
    wait_until_ms BIGINT NOT NULL,
    run_ms BIGINT NOT NULL,
    assigned_ms BIGINT,
    set_up BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    why TEXT COLLATE "C" NOT NULL,
    cause_code TEXT COLLATE "C",
    cause_evidence TEXT COLLATE "C",
    ended_ms BIGINT
);

-- The timeline. Written last in the transaction of the change itself.
CREATE TABLE changes (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    pool TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL
);

-- When each host booted, by the wall clock of that time: the origin of the clock that dates rows.
CREATE TABLE boots (
    boot TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    epoch_ms BIGINT NOT NULL
);

-- The present process of each runner; `beat` grows whenever it asks for leases.
CREATE TABLE runners (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    process TEXT COLLATE "C" NOT NULL,
    beat BIGINT NOT NULL
);

-- Which runner, and which process of it, works on which pool and sweeps which site; empty when it was given up. `beat` grows with
-- each change, and a lease whose beat has stood still for long enough may be taken.
CREATE TABLE leases (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT COLLATE "C" NOT NULL,
    process TEXT COLLATE "C" NOT NULL,
    beat BIGINT NOT NULL
);

-- Failed starts of a flavor since its last success.
CREATE TABLE streaks (
    flavor TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    failures BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    evidence TEXT COLLATE "C" NOT NULL
);

-- Pools that an operator drains.
CREATE TABLE drained (
    pool TEXT COLLATE "C" NOT NULL PRIMARY KEY
);

-- Rows that a transaction touches first, so that the next one of the same name waits for it.
CREATE TABLE locks (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    taken BIGINT NOT NULL
);

-- What is decided once for ever.
CREATE TABLE meta (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

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
