// What postgres.js 3.4.9 gets wrong when a connection ends while it is used, put right in node_modules by the set-up.
// Upstream has it as issues 1133, 1154, 1208 and 1216 and open requests 1155, 1168, 1209 and 1215; when a release has
// them, this file goes. ledger/postgres/lost-connections.engine.test.ts fails on every one of these without it.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CONNECTION = 'src/connection.js';
const POOL = 'src/index.js';

/** [file, what it says, what it is to say, why]; each stands exactly once. */
const EDITS = [
  [
    CONNECTION,
    `      return queryError(q, Errors.connection('CONNECTION_DESTROYED', options))
`,
    `      return queryError(q, Errors.connection('CONNECTION_DESTROYED', options))

    if (!socket)
      return (queryError(q, Errors.connection('CONNECTION_CLOSED', options)), true)
`,
    'a query on a connection without a socket is refused',
  ],
  [
    CONNECTION,
    `      return write(toBuffer(q))
        && !q.describeFirst
        && !q.cursorFn
        && sent.length < max_pipeline
        && (!q.options.onexecute || q.options.onexecute(connection))
`,
    `      const ready = write(toBuffer(q))
        && !q.describeFirst
        && !q.cursorFn
        && sent.length < max_pipeline
      return q.options.onexecute ? q.options.onexecute(connection) : ready
`,
    'a BEGIN that fills the pipeline reserves its connection as well: others would go on in its transaction',
  ],
  [
    CONNECTION,
    `  function write(x, fn) {
`,
    `  function write(x, fn) {
    if (!socket)
      return false

`,
    'what is left to say to a socket that is gone is not said: it was thrown where nobody could catch it',
  ],
  [
    CONNECTION,
    `    socket = null

    if (initial)
      return reconnect()

    !hadError && (query || sent.length) && error(Errors.connection('CONNECTION_CLOSED', options, socket))
`,
    `    socket = null

    !initial && (query || sent.length) && error(Errors.connection('CONNECTION_CLOSED', options, socket))
    chunk = nextWriteTimer = query = results = errorResponse = null
    result = new Result()
    rows = 0

    if (initial)
      return reconnect()

`,
    'queries that came between a reset and its end are rejected too; the next socket starts with nothing of this one',
  ],
  [
    CONNECTION,
    `        return fetchArrayTypes()
`,
    `        return fetchArrayTypes().catch(noop)
`,
    'the first query of a connection that ends during it is not an unhandled rejection: who waits is told by closed()',
  ],
  [
    CONNECTION,
    `  async function PortalSuspended() {
    try {
      const x = await Promise.resolve(query.cursorFn(result))
`,
    `  async function PortalSuspended() {
    const own = query
    try {
      const x = await Promise.resolve(query.cursorFn(result))
      if (query !== own)
        return
`,
    'a cursor whose connection ended between two batches asks for no more',
  ],
  [
    CONNECTION,
    `      write(Sync)
      query.reject(err)
`,
    `      write(Sync)
      own.reject(err)
`,
    'the same',
  ],
  [
    POOL,
    `    const queue = Queue()
    const c = open.length
`,
    `    const queue = Queue()
    let lost = null
    const c = open.length
`,
    'a reserved connection that ended belongs to the pool again, not to who had reserved it',
  ],
  [
    POOL,
    `    c.reserved.release = true

    const sql = Sql(handler)
    sql.release = () => {
`,
    `    c.reserved.release = true
    c.onclose = e => {
      lost = e
      while (queue.length)
        queue.shift().reject(e)
    }

    const sql = Sql(handler)
    sql.release = () => {
      if (lost)
        return
      c.onclose = null
`,
    'the same',
  ],
  [
    POOL,
    `    function handler(q) {
      c.queue === full
        ? queue.push(q)
`,
    `    function handler(q) {
      if (lost)
        return q.reject(lost)
      c.queue === full
        ? queue.push(q)
`,
    'the same',
  ],
  [
    POOL,
    `      , connection
      , prepare = null
`,
    `      , connection
      , prepare = null
      , lost = null
`,
    'a transaction whose connection ended sends nothing more: it would be written in the next transaction on it',
  ],
  [
    POOL,
    `        new Promise((_, reject) => connection.onclose = reject)
`,
    `        new Promise((_, reject) => connection.onclose = e => {
          lost = e
          while (queries.length)
            queries.shift().reject(e)
          reject(e)
        })
`,
    'the same',
  ],
  [
    POOL,
    `        q.catch(e => uncaughtError || (uncaughtError = e))
`,
    `        q.catch(e => uncaughtError || (uncaughtError = e))
        if (lost)
          return q.reject(lost)
`,
    'the same',
  ],
];

/** Puts every edit in place, once. @throws Error when the package is another than the one this was written for. */
export function patchPostgres(root) {
  for (const file of [CONNECTION, POOL]) {
    const path = join(root, 'node_modules/postgres', file);
    const present = readFileSync(path, 'utf8');
    let text = present;
    for (const [, before, after, why] of EDITS.filter(([name]) => name === file)) {
      if (text.includes(after)) continue;
      if (text.split(before).length !== 2) throw new Error(`${path} is not as expected: ${why}`);
      text = text.replace(before, () => after);
    }
    if (text !== present) writeFileSync(path, text);
  }
}
